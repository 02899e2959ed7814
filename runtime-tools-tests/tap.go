// Package tap stands in for github.com/mndrix/tap-go, which Debian does not have: it prints results in the Test Anything
// Protocol, version 13 (testanything.org). It has what the validation suite of runtime-tools calls, and nothing else.
package tap

import (
	"encoding/json"
	"fmt"
	"strings"
)

// T prints the results of one program, in order.
type T struct {
	last *int // shared with what Todo returns: all results of a program have one numbering
	todo bool
}

// New begins a series of results.
func New() *T { return &T{last: new(int)} }

// Header says the version and, unless AutoPlan will do so at the end, how many results follow.
func (t *T) Header(results int) {
	fmt.Println("TAP version 13")
	if results > 0 {
		fmt.Printf("1..%d\n", results)
	}
}

// AutoPlan says how many results there were.
func (t *T) AutoPlan() { fmt.Printf("1..%d\n", *t.last) }

// Ok prints one result.
func (t *T) Ok(passed bool, description string) {
	verdict := "ok"
	if !passed {
		verdict = "not ok"
	}
	mark := "-"
	if t.todo {
		mark = "# TODO"
	}
	t.result(verdict, mark, description)
}

// Pass prints the result of a test that passed.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail prints the result of a test that failed.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip prints the results of tests that were not made.
func (t *T) Skip(count int, description string) {
	for ; count > 0; count-- {
		t.result("ok", "# SKIP", description)
	}
}

// Todo returns a T whose failures are known: they do not count.
func (t *T) Todo() *T { return &T{last: t.last, todo: true} }

// Diagnostic explains the result before it.
func (t *T) Diagnostic(message string) {
	fmt.Println("# " + strings.ReplaceAll(strings.TrimRight(message, "\n"), "\n", "\n# "))
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, args ...interface{}) { t.Diagnostic(fmt.Sprintf(format, args...)) }

// YAML prints what belongs to the result before it, as JSON, which is YAML too.
func (t *T) YAML(data interface{}) error {
	text, err := json.MarshalIndent(data, "  ", "  ")
	if err == nil {
		fmt.Printf("  ---\n  %s\n  ...\n", text)
	}
	return err
}

func (t *T) result(verdict, mark, description string) {
	*t.last++
	fmt.Printf("%s %d %s %s\n", verdict, *t.last, mark, description)
}
