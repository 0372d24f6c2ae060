package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

// A goroutine for each connection, on 127.0.0.1.
func serveEcho(port string) {
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer conn.Close()
			buffer := make([]byte, 2048)
			for {
				n, err := conn.Read(buffer)
				if err == io.EOF || n == 0 {
					return
				}
				if _, err = conn.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}
