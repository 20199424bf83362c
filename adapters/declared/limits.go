package declared

// What a declaration may be, and what a fold of one may hold. Nothing is bounded by time, because a projection has no clock: what
// an expression may take is bounded by what it may be. It has no loop but over the elements of one list of one event, loops are
// not nested, a list has an end and so has every text, so that folding an event takes at most
// maxNodes × maxList steps, each no longer than reading the event. Whatever goes over a limit stops the projection at that event,
// or refuses the declaration, and says which limit it was.
const (
	maxSource     = 64 << 10    // bytes of a declaration
	maxExpression = 2 << 10     // bytes of one expression
	maxNodes      = 200         // names, values and operators of one expression
	maxAllNodes   = 4000        // of all expressions of a declaration
	maxNames      = 32          // of keys, of fields, of columns, of parameters, of queries, of what is remembered
	maxList       = 1000        // elements of a list that an expression reads
	maxBudget     = 8 * maxList // elements that one expression makes: the memory budget of expr
	maxMade       = 64 << 10    // bytes of a text that an expression makes
	maxText       = 1 << 10     // bytes of a text that is kept
	maxGroups     = 100_000     // groups of a fold
	maxRemembered = 100_000     // events that one part of remember keeps
	maxState      = 64 << 20    // bytes of a fold's state, about
	maxRows       = 1000        // rows of an answer that sets no limit of its own
	maxProblems   = 20          // problems that one refusal lists
)
