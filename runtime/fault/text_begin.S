// Where the runtime's own code begins: this file is the first of the archive, and linkers keep that order in each section. text.cpp asks.
        .text
        .globl  smarm_text_begin
        .hidden smarm_text_begin
smarm_text_begin:
        .section .text.unlikely, "ax", @progbits
        .globl  smarm_cold_text_begin
        .hidden smarm_cold_text_begin
smarm_cold_text_begin:
        .section .note.GNU-stack, "", @progbits
