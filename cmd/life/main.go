// Command life runs agents whose every step is stored. What it does is in package cmd: this is only the name of the binary.
package main

import "example.com/life/cmd"

// version is what life version prints. The linker sets it: -X main.version=v1.2.3
var version = "dev"

func main() { cmd.Main(cmd.Config{Version: version}) }
