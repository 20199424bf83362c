package declared

// What a declaration may be, and what a fold of one may hold. Nothing is bounded by time, because a projection has no clock: what an
// expression may take is counted in steps, before they are taken (meter.go). A step is one name, value or operator of an expression,
// for each element of the list that it goes through; eight bytes of a text that is read; or one state of a pattern for each byte of the
// text that it is matched with. Whatever goes over a limit stops the projection at that event, or refuses the declaration, and says
// which limit it was.
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
	maxStates     = 32 << 10    // of the patterns of one expression
	maxAllStates  = 800_000     // of all patterns of a declaration; one takes some 40 bytes
	maxSteps      = 64 << 20    // that the expressions take for one event: a second or two
	maxAnswer     = 128 << 20   // steps that they take for one answer
	maxGroups     = 100_000     // groups of a fold
	maxRemembered = 100_000     // events that one part of remember keeps
	maxState      = 64 << 20    // bytes of a fold's state, about
	maxRows       = 1000        // rows of an answer that sets no limit of its own
	maxProblems   = 20          // problems that one refusal lists
)
