// Package onnxpb is ONNX's protobuf schema (onnx.proto, IR version 13, from the
// onnx Python package 1.23.2) as generated code. It owns nothing else.
package onnxpb

//go:generate protoc --go_out=. --go_opt=Monnx.proto=./onnxpb --go_opt=paths=source_relative onnx.proto
