package permission

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// dangerous reports whether a variable decides which programs run, or what they load.
func dangerous(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "GIT_", "BASH_FUNC_", "PYTHON", "PERL5", "RUBY", "NODE_", "NPM_CONFIG_", "npm_config_", "PIP_", "GO", "RUSTC", "CARGO_", "JAVA_", "_JAVA", "MAVEN_", "GLIBC_", "MAKE", "SSH_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "PATH", "ENV", "BASH_ENV", "IFS", "SHELL", "SHELLOPTS", "BASHOPTS", "PS0", "PS1", "PS2", "PS4", "PROMPT_COMMAND", "CDPATH", "HOME", "PWD", "OLDPWD",
		"EDITOR", "VISUAL", "PAGER", "MANPAGER", "LESSOPEN", "LESSCLOSE", "BROWSER", "GCONV_PATH", "CC", "CXX", "CPP", "AR", "XDG_CONFIG_HOME", "EXECIGNORE",
		"TAR_OPTIONS", "RSYNC_RSH", "DOCKER_HOST", "KUBECONFIG", "AWS_CONFIG_FILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy":
		return true
	}
	return false
}

// setVariable notes that a variable gets a value.
func (r *reader) setVariable(name string, number bool) {
	if dangerous(name) {
		r.doubt("it sets %s, which decides what programs do", clip(name))
	}
	if number {
		r.counted[name] = true
	} else {
		r.unsafe[name] = true
	}
}

func (r *reader) assign(n *syntax.Assign) {
	if n.Name == nil {
		return
	}
	value := literal(n.Value)
	r.setVariable(n.Name.Value, n.Array == nil && (n.Value == nil || !value.Open && number(value.Text) || countsOnly(n.Value)))
	if n.Index != nil {
		r.evaluated(n.Index)
	}
}

// countsOnly reports whether a word is one arithmetic expansion, $((…)): whatever it holds, it is a number in the end.
func countsOnly(w *syntax.Word) bool {
	if w == nil || len(w.Parts) != 1 {
		return false
	}
	_, is := w.Parts[0].(*syntax.ArithmExp)
	return is
}

func (r *reader) declare(n *syntax.DeclClause) {
	for _, arg := range n.Args {
		if arg.Name != nil || arg.Value == nil {
			continue // Assign is visited
		}
		switch option := literal(arg.Value); {
		case option.Open, !strings.HasPrefix(option.Text, "-") && !strings.HasPrefix(option.Text, "+"):
			r.doubt("what it declares is not in the line")
		case strings.ContainsAny(option.Text, "nfi"):
			r.doubt("%s %s gives names another meaning", n.Variant.Value, option.Text)
		}
	}
	if n.Variant != nil && n.Variant.Value == "nameref" {
		r.doubt("nameref gives names another meaning")
	}
}

func (r *reader) loop(n *syntax.WordIter) {
	numbers := len(n.Items) > 0
	for _, item := range n.Items {
		if w := literal(item); !number(w.Text) && (!w.Glob || !numberRange(w.Text)) {
			numbers = false
		}
	}
	r.setVariable(n.Name.Value, numbers)
}

func number(text string) bool {
	text = strings.TrimPrefix(text, "-")
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// numberRange reports whether a word is as {1..9}.
func numberRange(text string) bool {
	return strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") && strings.Trim(text, "{}.,-0123456789") == ""
}

func (r *reader) parameter(p *syntax.ParamExp) {
	switch {
	case p.Excl:
		r.doubt("${!…} runs what is in a variable's name")
	case p.Exp != nil && p.Exp.Op == syntax.OtherParamOps:
		if w := literal(p.Exp.Word); w.Open || strings.Contains("PA", w.Text) {
			r.doubt("${…@%s} evaluates what is in a variable", w.Text)
		}
	case p.Exp != nil && (p.Exp.Op == syntax.AssignUnset || p.Exp.Op == syntax.AssignUnsetOrNull):
		if p.Param != nil {
			r.setVariable(p.Param.Value, false)
		}
	}
	if p.Index != nil {
		r.evaluated(p.Index)
	}
	if p.Slice != nil {
		r.evaluated(p.Slice.Offset)
		r.evaluated(p.Slice.Length)
	}
}

// arithmetic finds what the shell evaluates as arithmetic. A variable there may hold a[$(command)], and the command runs.
func (r *reader) arithmetic(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.ArithmExp:
		r.evaluated(n.X)
	case *syntax.ArithmCmd:
		r.evaluated(n.X)
	case *syntax.CStyleLoop:
		r.evaluated(n.Init)
		r.evaluated(n.Cond)
		r.evaluated(n.Post)
	case *syntax.LetClause:
		for _, x := range n.Exprs {
			r.evaluated(x)
		}
	case *syntax.ArrayElem:
		if n.Index != nil {
			r.evaluated(n.Index)
		}
	case *syntax.BinaryTest:
		switch n.Op {
		case syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr:
			r.testNumber(n.X)
			r.testNumber(n.Y)
		default:
		}
	case *syntax.UnaryTest:
		if n.Op == syntax.TsVarSet || n.Op == syntax.TsRefVar {
			r.testNumber(n.X)
		}
	}
}

func (r *reader) testNumber(x syntax.TestExpr) {
	if w, is := x.(*syntax.Word); is {
		r.evaluatedWord(w)
	}
}

func (r *reader) evaluated(x syntax.ArithmExpr) {
	switch x := x.(type) {
	case nil:
	case *syntax.BinaryArithm:
		if assigns(x.Op) {
			r.counts(x.X)
		} else {
			r.evaluated(x.X)
		}
		r.evaluated(x.Y)
	case *syntax.UnaryArithm:
		if x.Op == syntax.Inc || x.Op == syntax.Dec {
			r.counts(x.X)
		}
		r.evaluated(x.X)
	case *syntax.ParenArithm:
		r.evaluated(x.X)
	case *syntax.FlagsArithm:
		r.evaluated(x.X)
	case *syntax.Word:
		r.evaluatedWord(x)
	}
}

func assigns(op syntax.BinAritOperator) bool {
	switch op {
	case syntax.Assgn, syntax.AddAssgn, syntax.SubAssgn, syntax.MulAssgn, syntax.QuoAssgn, syntax.RemAssgn,
		syntax.AndAssgn, syntax.OrAssgn, syntax.XorAssgn, syntax.ShlAssgn, syntax.ShrAssgn:
		return true
	default:
		return false
	}
}

// counts notes a variable that arithmetic gives its value.
func (r *reader) counts(x syntax.ArithmExpr) {
	w, is := x.(*syntax.Word)
	if !is || literal(w).Open {
		r.doubt("which variable arithmetic sets is not in the line")
		return
	}
	r.setVariable(literal(w).Text, true)
}

func (r *reader) evaluatedWord(w *syntax.Word) {
	for _, part := range w.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			switch text, _ := unescape(p.Value); {
			case number(text), text == "@", text == "*":
			case name(text):
				r.numbers = append(r.numbers, text)
			default:
				r.doubt("%q is evaluated as arithmetic", clip(text))
			}
		case *syntax.ParamExp:
			if p.Length || p.Param == nil || p.Param.Value == "#" || p.Param.Value == "?" || p.Param.Value == "$" {
				continue
			}
			if !name(p.Param.Value) {
				r.doubt("$%s is evaluated as arithmetic", p.Param.Value)
				continue
			}
			r.numbers = append(r.numbers, p.Param.Value)
		case *syntax.ArithmExp: // is a number
		default:
			r.doubt("text is evaluated as arithmetic, which may run what is in it")
		}
	}
}

func name(text string) bool {
	for i, c := range text {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// checkArithmetic doubts arithmetic with variables that may hold more than numbers.
func (r *reader) checkArithmetic() {
	for _, name := range r.numbers {
		if r.unsafe[name] || !r.counted[name] && name != "RANDOM" && name != "SECONDS" && name != "LINENO" {
			r.doubt("%s is evaluated as arithmetic, and may hold text that runs", clip(name))
		}
	}
}
