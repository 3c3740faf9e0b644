// Predicts for texts with a bundle, in Go.
//
//	CGO_CFLAGS=$(pkg-config --cflags onelayer) CGO_LDFLAGS=$(pkg-config --libs onelayer) go build
//	./predict runs/reviews-int8 "a fine film" "a dull film"
package main

/*
#include <onelayer.h>
#include <stdlib.h>

// Go's pointers may not be kept in C's memory, so the texts are copied into one block of C's.
static onelayer_results *predict(const onelayer_model *model, char *bytes, const size_t *sizes, size_t n)
{
    onelayer_input *inputs = calloc(n ? n : 1, sizeof *inputs);
    for (size_t i = 0; inputs && i < n; bytes += sizes[i++]) {
        inputs[i].text.data = bytes;
        inputs[i].text.size = sizes[i];
    }
    onelayer_results *results = onelayer_predict(model, inputs, n);
    free(inputs);
    return results;
}
*/
import "C"

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

// A part of a text in bytes: text[Begin:End].
type entity struct {
	Begin, End int
	Type       string
}

type prediction struct {
	Label       string // empty for a tagger
	Probability float64
	Entities    []entity
}

type model struct{ opened *C.onelayer_model }

// The message belongs to the thread that failed, so a goroutine must stay on it.
func onOneThread[T any](call func() T) T {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return call()
}

func open(path string) (found model, failure error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	failure = onOneThread(func() error {
		if found.opened = C.onelayer_open(name, nil); found.opened == nil {
			return errors.New(C.GoString(C.onelayer_error()))
		}
		return nil
	})
	return
}

func (m model) close() { C.onelayer_close(m.opened) }

// Any number of goroutines may call.
func (m model) predict(texts []string) (found []prediction, failure error) {
	sizes := make([]C.size_t, len(texts)+1)
	for i, text := range texts {
		sizes[i] = C.size_t(len(text))
	}
	bytes := C.CString(strings.Join(texts, ""))
	defer C.free(unsafe.Pointer(bytes))
	var results *C.onelayer_results
	failure = onOneThread(func() error {
		results = C.predict(m.opened, bytes, &sizes[0], C.size_t(len(texts)))
		if results == nil {
			return errors.New(C.GoString(C.onelayer_error()))
		}
		return nil
	})
	if failure != nil {
		return
	}
	defer C.onelayer_free(results)
	for i := range texts {
		one := C.onelayer_prediction_at(results, C.size_t(i))
		var row prediction
		if one.label >= 0 {
			row.Label = goText(C.onelayer_label(m.opened, C.size_t(one.label)))
			row.Probability = float64(one.probability)
		}
		for _, e := range unsafe.Slice(one.entities, int(one.n_entities)) {
			row.Entities = append(row.Entities,
				entity{int(e.span.byte_begin), int(e.span.byte_end), goText(e._type)})
		}
		found = append(found, row)
	}
	return
}

func goText(text C.onelayer_text) string { return C.GoStringN(text.data, C.int(text.size)) }

func fail(code int, message string) {
	os.Stderr.WriteString(message + "\n")
	os.Exit(code)
}

func main() {
	if len(os.Args) < 3 {
		fail(2, "usage: predict BUNDLE TEXT...")
	}
	m, failure := open(os.Args[1])
	if failure != nil {
		fail(1, failure.Error())
	}
	defer m.close()
	texts := os.Args[2:]
	found, failure := m.predict(texts)
	if failure != nil {
		fail(1, failure.Error())
	}
	for i, row := range found {
		if row.Label != "" {
			os.Stdout.WriteString(row.Label + " " + strconv.FormatFloat(row.Probability, 'f', 4, 64) + "\n")
		}
		for _, e := range row.Entities {
			os.Stdout.WriteString(strconv.Itoa(e.Begin) + "-" + strconv.Itoa(e.End) + " " + e.Type +
				" " + texts[i][e.Begin:e.End] + "\n")
		}
	}
}
