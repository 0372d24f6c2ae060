// Where the runtime's own code ends: this file is the last of the archive, and linkers keep that order in each section. text.cpp asks.
        .text
        .globl  smarm_text_end
        .hidden smarm_text_end
smarm_text_end:
        .section .text.unlikely, "ax", @progbits
        .globl  smarm_cold_text_end
        .hidden smarm_cold_text_end
smarm_cold_text_end:
        .section .note.GNU-stack, "", @progbits
