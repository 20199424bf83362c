package projections

import "example.com/life/events"

// One function for each kind that outline reads: its fields, and what of it is passed over.

func (f *fields) messageReceived() events.Event {
	var e events.MessageReceived
	for f.next() {
		switch string(f.key) {
		case "message":
			e.Message = events.MessageID(f.text())
		case "verb":
			e.Verb = events.Verb(f.text())
		case "from", "text", "blob":
			f.skip()
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) turnStarted() events.Event {
	var e events.TurnStarted
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "messages":
			e.Messages = texts[events.MessageID](f)
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) turnEnded() events.Event {
	var e events.TurnEnded
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "outcome":
			e.Outcome = events.Outcome(f.text())
		case "reason":
			e.Reason = events.Reason(f.text())
		case "rounds":
			e.Rounds = int(f.integer())
		case "tool_calls":
			e.ToolCalls = int(f.integer())
		case "usage":
			e.Usage = f.usage()
		case "cost":
			e.Cost = events.Money(f.number())
		case "unpriced":
			e.Unpriced = f.boolean()
		case "detail":
			f.skip()
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) adviceRequested() events.Event {
	var e events.AdviceRequested
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) adviceGiven() events.Event {
	var e events.AdviceGiven
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "mode":
			e.Mode = events.OperatingMode(f.text())
		case "because":
			e.Because = texts[string](f)
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) modelRequested() events.Event {
	var e events.ModelRequested
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "round":
			e.Round = int(f.integer())
		case "attempt":
			e.Attempt = int(f.integer())
		case "model":
			e.Model = f.text()
		case "dropped":
			e.Dropped = int(f.integer())
		case "context":
			f.skip()
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) modelReplied() events.Event {
	var e events.ModelReplied
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "calls":
			e.Calls = f.calls()
		case "stop":
			e.Stop = events.StopReason(f.text())
		case "model":
			e.Model = f.text()
		case "usage":
			e.Usage = f.usage()
		case "cost":
			e.Cost = events.Money(f.number())
		case "priced":
			e.Priced = f.boolean()
		case "duration_us":
			e.Duration = events.Micros(f.number())
		case "text", "blob":
			f.skip()
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) toolRequested() events.Event {
	var e events.ToolRequested
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "call":
			e.Call = events.CallID(f.text())
		case "tool":
			e.Tool = f.text()
		case "arguments":
			f.skip()
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) toolReturned() events.Event {
	var e events.ToolReturned
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "call":
			e.Call = events.CallID(f.text())
		case "failed":
			e.Failed = f.boolean()
		case "duration_us":
			e.Duration = events.Micros(f.number())
		case "text", "blob", "full", "before", "tree":
			f.skip()
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) budgetRequested() events.Event {
	var e events.BudgetRequested
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "wallet":
			e.Wallet = events.WalletID(f.text())
		case "amount":
			e.Amount = events.Money(f.number())
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) budgetGranted() events.Event {
	var e events.BudgetGranted
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "amount":
			e.Amount = events.Money(f.number())
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) settlementRequested() events.Event {
	var e events.SettlementRequested
	for f.next() {
		switch string(f.key) {
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "wallet":
			e.Wallet = events.WalletID(f.text())
		case "spent":
			e.Spent = events.Money(f.number())
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) settlementRecorded() events.Event {
	var e events.SettlementRecorded
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "released":
			e.Released = events.Money(f.number())
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) fundsReserved() events.Event {
	var e events.FundsReserved
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "amount":
			e.Amount = events.Money(f.number())
		default:
			f.unexpected()
		}
	}
	return e
}

func (f *fields) fundsSettled() events.Event {
	var e events.FundsSettled
	for f.next() {
		switch string(f.key) {
		case "request":
			e.Request = events.RequestID(f.text())
		case "turn":
			e.Turn = events.TurnID(f.text())
		case "spent":
			e.Spent = events.Money(f.number())
		case "released":
			e.Released = events.Money(f.number())
		default:
			f.unexpected()
		}
	}
	return e
}

// usage reads how many tokens a call took.
func (f *fields) usage() events.Usage {
	var u events.Usage
	for f.next() {
		switch string(f.key) {
		case "input":
			u.Input = f.number()
		case "output":
			u.Output = f.number()
		case "cached":
			u.Cached = f.number()
		default:
			f.unexpected()
		}
	}
	return u
}

// calls reads the calls of a reply, without their arguments.
func (f *fields) calls() []events.ModelCall {
	var all []events.ModelCall
	for f.element() {
		var call events.ModelCall
		for f.next() {
			switch string(f.key) {
			case "tool":
				call.Tool = f.text()
			case "id", "arguments":
				f.skip()
			default:
				f.unexpected()
			}
		}
		all = append(all, call)
	}
	return all
}
