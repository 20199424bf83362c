package sagas

import "example.com/life/events"

// maxFaults is how many replies in a row may be no answer; then the turn fails.
const maxFaults = 3

// faultDetail says in a turn's end what was wrong with the last reply.
func faultDetail(fault events.Fault) string {
	switch fault {
	case events.FaultEmpty:
		return "its reply had neither text nor calls"
	case events.FaultCall:
		return "it wrote its tool calls as text; does the endpoint parse this model's calls?"
	}
	return "its reply was unusable: " + valid(string(fault))
}

// faultHint is what the model is told of a reply that is no answer. It is part of recorded conversations: another wording is another
// conversation.
func faultHint(fault events.Fault) string {
	switch fault {
	case events.FaultEmpty:
		return "[The last reply was empty: it had neither a text nor a tool call. Go on with the task, or say what came of it.]"
	case events.FaultCall:
		return "[The last reply holds a tool call written as text. Nothing was run. Make the call again as a tool call of the API, " +
			"with complete arguments; if no call is needed, answer in plain words.]"
	}
	return "[The last reply could not be used. Answer again.]"
}
