module example.org/hello
go 1.26.1
require example.com/life v0.0.0
replace example.com/life => ../../..
