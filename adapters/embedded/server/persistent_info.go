package server

import (
	"context"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"

	"example.com/life/adapters/embedded/groups"
	"example.com/life/events"
)

// GetInfo implements persistent.PersistentSubscriptionsServer.
func (s *persistentService) GetInfo(ctx context.Context, request *persistent.GetInfoReq) (*persistent.GetInfoResp, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	options := request.GetOptions()
	key, err := keyOf(options, options.GetAll() != nil)
	if err != nil {
		return nil, err
	}
	report, err := s.groups.Report(ctx, key)
	if err != nil {
		return nil, groupFailure(err, key.Stream)
	}
	return &persistent.GetInfoResp{SubscriptionInfo: infoOf(&report)}, nil
}

// List implements persistent.PersistentSubscriptionsServer.
func (s *persistentService) List(ctx context.Context, request *persistent.ListReq) (*persistent.ListResp, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	var stream events.Stream // empty: all groups
	switch option := request.GetOptions().GetListOption().(type) {
	case *persistent.ListReq_Options_ListAllSubscriptions:
	case *persistent.ListReq_Options_ListForStream:
		stream = groups.All
		if option.ListForStream.GetAll() == nil {
			var err error
			if stream, err = streamName(option.ListForStream.GetStream()); err != nil {
				return nil, err
			}
		}
	default:
		return nil, invalid("the request says neither of which stream to list groups nor that all are meant")
	}
	reports, err := s.groups.List(ctx, stream)
	if err != nil {
		return nil, groupFailure(err, stream)
	}
	if len(reports) == 0 && stream != "" {
		return nil, groupFailure(&groups.RefusalError{Kind: groups.Missing, Key: groups.Key{Stream: stream}}, stream)
	}
	list := &persistent.ListResp{}
	for i := range reports {
		list.Subscriptions = append(list.Subscriptions, infoOf(&reports[i]))
	}
	return list, nil
}

// infoOf writes a report. What it says beyond the protocol's fields stands in the status.
func infoOf(report *groups.Report) *persistent.SubscriptionInfo {
	settings := &report.Settings
	info := &persistent.SubscriptionInfo{
		EventSource: string(report.Key.Stream), GroupName: report.Key.Group, Status: report.Status,
		AveragePerSecond: small(report.Rate), TotalItems: report.Items, CountSinceLastMeasurement: report.Recent,
		LastCheckpointedEventPosition: report.LastCheckpoint, LastKnownEventPosition: report.LastKnown,
		ResolveLinkTos: settings.ResolveLinks, StartFrom: report.StartFrom, ExtraStatistics: settings.ExtraStatistics,
		MessageTimeoutMilliseconds: small(int(settings.MessageTimeout.Milliseconds())), MaxRetryCount: small(settings.MaxRetries),
		LiveBufferSize: small(settings.LiveBuffer), BufferSize: small(settings.HistoryBuffer), ReadBatchSize: small(settings.ReadBatch),
		CheckPointAfterMilliseconds: small(int(settings.CheckpointAfter.Milliseconds())),
		MinCheckPointCount:          small(settings.MinCheckpoint), MaxCheckPointCount: small(settings.MaxCheckpoint),
		ReadBufferCount: small(report.Buffered), RetryBufferCount: small(report.Retrying),
		TotalInFlightMessages: small(report.InFlight), OutstandingMessagesCount: small(report.Outstanding),
		NamedConsumerStrategy: string(settings.Strategy), MaxSubscriberCount: small(settings.MaxConsumers), ParkedMessageCount: report.Parked,
	}
	for i := range report.Consumers {
		info.Connections = append(info.Connections, connectionOf(&report.Consumers[i]))
	}
	return info
}

func connectionOf(c *groups.ConsumerReport) *persistent.SubscriptionInfo_ConnectionInfo {
	return &persistent.SubscriptionInfo_ConnectionInfo{
		Username: c.User, ConnectionName: c.Name, AverageItemsPerSecond: small(c.Rate), TotalItems: c.Items,
		CountSinceLastMeasurement: c.Recent, AvailableSlots: small(c.Free), InFlightMessages: small(c.InFlight),
		ObservedMeasurements: measurements(c.Latencies),
	}
}

func small(n int) int32 { return int32(max(min(n, math.MaxInt32), math.MinInt32)) }

// measurements sums up latencies, which are in rising order, in milliseconds and under the names that EventStoreDB's tools know.
func measurements(latencies []events.Micros) []*persistent.SubscriptionInfo_Measurement {
	if len(latencies) == 0 {
		return nil
	}
	var sum events.Micros
	for _, latency := range latencies {
		sum += latency
	}
	at := func(permille int) events.Micros {
		return latencies[min(len(latencies)*permille/1000, len(latencies)-1)]
	}
	var list []*persistent.SubscriptionInfo_Measurement
	for _, m := range []struct {
		key   string
		value events.Micros
	}{
		{"Mean", sum / events.Micros(len(latencies))},
		{"Median", at(500)},
		{"Fastest", at(0)},
		{"Quintile 1", at(200)},
		{"Quintile 2", at(400)},
		{"Quintile 3", at(600)},
		{"Quintile 4", at(800)},
		{"Quintile 5", at(1000)},
		{"90%", at(900)},
		{"95%", at(950)},
		{"99%", at(990)},
		{"99.5%", at(995)},
		{"99.9%", at(999)},
		{"Highest", at(1000)},
	} {
		list = append(list, &persistent.SubscriptionInfo_Measurement{Key: m.key, Value: int64(m.value / events.Millisecond)})
	}
	return list
}
