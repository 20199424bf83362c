package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// carrier carries a W3C trace context in a message's metadata, and so beside the event that it is stored as.
type carrier message.Metadata

func (c carrier) Get(key string) string { return c[key] }
func (c carrier) Set(key, value string) { c[key] = value }
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}

// traceInto writes ctx's trace context into a message, unless it has one.
func traceInto(ctx context.Context, m *message.Message) {
	if m.Metadata.Get(TraceKey) == "" {
		propagation.TraceContext{}.Inject(ctx, carrier(m.Metadata))
	}
}

// traceOf is ctx's trace context as a text; empty when there is none.
func traceOf(ctx context.Context) string {
	found := carrier{}
	propagation.TraceContext{}.Inject(ctx, found)
	return found[TraceKey]
}

// traced goes on with the trace that a message carries, in a span of its own. Without an installed provider (nil: the global one)
// the trace is handed on as it came.
func traced(provider trace.TracerProvider) message.HandlerMiddleware {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	tracer := provider.Tracer("example.com/life/adapters/bus")
	return func(handle message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			ctx := propagation.TraceContext{}.Extract(m.Context(), carrier(m.Metadata))
			ctx, span := tracer.Start(ctx, "process "+message.SubscribeTopicFromCtx(ctx), trace.WithSpanKind(trace.SpanKindConsumer),
				trace.WithAttributes(
					attribute.String("messaging.system", "life"),
					attribute.String("messaging.message.id", m.UUID),
					attribute.String("messaging.message.type", m.Metadata.Get(TypeKey)),
				))
			defer span.End()
			m.SetContext(ctx)
			produced, err := handle(m)
			if err != nil {
				span.RecordError(err)
				span.SetStatus(codes.Error, "")
			}
			for _, p := range produced {
				traceInto(ctx, p)
			}
			return produced, err
		}
	}
}
