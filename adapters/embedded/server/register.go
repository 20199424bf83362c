package server

import (
	"google.golang.org/grpc"
)

// registrar registers services. It makes each method one whose handler reads the request itself: gRPC would read that of a unary method,
// up to maxMessage of it, before the interceptor can find out who calls.
type registrar struct {
	*grpc.Server
	open bool // the services answer anyone; their requests are empty
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(service *grpc.ServiceDesc, implementation any) {
	streamed := *service
	streamed.Methods = nil
	streamed.Streams = append([]grpc.StreamDesc(nil), service.Streams...)
	for _, method := range service.Methods {
		streamed.Streams = append(streamed.Streams, grpc.StreamDesc{StreamName: method.MethodName, Handler: r.unary(method)})
	}
	r.Server.RegisterService(&streamed, implementation)
}

func (r registrar) unary(method grpc.MethodDesc) grpc.StreamHandler {
	return func(implementation any, call grpc.ServerStream) error {
		read := call.RecvMsg
		if callerOf(call.Context()).stranger {
			if !r.open {
				return accessDenied()
			}
			read = func(any) error { return nil }
		}
		answer, err := method.Handler(implementation, call.Context(), read, nil)
		if err != nil {
			return err
		}
		return call.SendMsg(answer)
	}
}

// refused is a service that means nothing on one embedded node. Its methods are there, and say why.
type refused struct {
	name    string
	methods []string
	why     string
}

// refusedServices are those of EventStoreDB that are listed and refused.
func refusedServices() []refused {
	return []refused{
		{"event_store.client.monitoring.Monitoring", []string{"Stats"}, "the statistics are those of EventStoreDB's queues and chunks, which this store does not have"},
		{"event_store.client.redaction.Redaction", []string{"GetEventPositions", "SwitchChunks"}, "it edits EventStoreDB's chunk files, which this store does not have"},
	}
}

func (r registrar) refuse(service refused) {
	desc := &grpc.ServiceDesc{ServiceName: service.name}
	for _, method := range service.methods {
		desc.Streams = append(desc.Streams, grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true, Handler: func(any, grpc.ServerStream) error {
			return unsupportedHere("/"+service.name+"/"+method, service.why)
		}})
	}
	r.Server.RegisterService(desc, nil)
}
