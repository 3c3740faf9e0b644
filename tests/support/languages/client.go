// Clients of Go. Arguments: the server's address. Prints a line a request: its status, and what its
// spans cut out of the text.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

const text = "a 😀 the good cat 我们"

type span struct {
	Start, End int
	Text       string
}

type answer struct {
	Predictions []struct{ Entities []span }
}

func post(address string, body io.Reader, expect string) {
	request, err := http.NewRequest("POST", address+"/v1/models/names/tag", body)
	check(err)
	request.Header.Set("Content-Type", "application/json")
	if expect != "" {
		request.Header.Set("Expect", expect)
	}
	response, err := http.DefaultClient.Do(request)
	check(err)
	defer response.Body.Close()
	var found answer
	check(json.NewDecoder(response.Body).Decode(&found))
	fmt.Print(response.StatusCode)
	for _, prediction := range found.Predictions {
		for _, one := range prediction.Entities {
			fmt.Print("|", text[one.Start:one.End])
			if text[one.Start:one.End] != one.Text {
				fmt.Print("!=", one.Text)
			}
		}
	}
	fmt.Println()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	body, err := json.Marshal(map[string]string{"inputs": text, "offsets": "utf8"})
	check(err)
	for i := 0; i < 3; i++ {
		post(os.Args[1], bytes.NewReader(body), "")
	}
	post(os.Args[1], bytes.NewReader(body), "100-continue")
	post(os.Args[1], io.MultiReader(bytes.NewReader(body)), "") // in chunks
}
