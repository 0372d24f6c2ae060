// Leaving one stack for another. System V x86-64.
//
// What is saved is what the ABI calls callee-saved: rbx, rbp, r12 to r15, rsp, the control bits of MXCSR and the x87 control word. A suspended stack
// looks like this from its saved sp upwards (context.hpp holds the same numbers and static_asserts them):
//
//      sp + 0   MXCSR (4 bytes)      sp + 4   x87 control word (2 bytes)
//      sp + 8   r15   +16 r14   +24 r13   +32 r12   +40 rbx   +48 rbp   +56 return address
//
// Control words are loaded without looking whether they differ: reading back what stmxcsr has just stored costs 2.2 ns, loading an equal
// value 0.3 (Zen 5). Storing MXCSR is 2.8 of the 5.8 ns that a switch takes; nothing tells cheaper whether an actor has changed it.
//
// How a switch ends is chosen for the return-address predictor, which pairs every `ret` with a `call` whatever stack they run on:
//   - to a suspended flow by `ret`: actors that wait in the same function leave and come back through the same call, so the address is the predicted one, and so are
//     the returns that follow. `pop; jmp` would leave one entry too many and make every one of them miss: 40 ns a yield against 15.
//   - to a fresh stack by `jmp`: the call that left stays predicted. When the new flow ends it goes on by `ret` in smarm_stack_start, its own calls and returns
//     being balanced by then: a spawn and a join miss nothing. (With `ret` to the start and a jump at the end the joiner's five returns all missed.)

        .text

// void smarm_switch(void** save_sp [rdi], void* load_sp [rsi])
// Suspends the caller into *save_sp and resumes load_sp. Returns when somebody resumes *save_sp, perhaps on another thread.
        .globl  smarm_switch
        .hidden smarm_switch
        .type   smarm_switch, @function
        .p2align 4
smarm_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        pushq   $0                      // not fresh
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp              // the frame has the same shape there: the CFI above stays right
.Lresume:
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        cmpw    $0, 6(%rsp)
        jne     .Lstart
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   smarm_switch, .-smarm_switch

// [[noreturn]] void smarm_leave(void* load_sp [rdi])
// Resumes load_sp and never comes back: the caller's stack may be freed by whoever runs next.
        .globl  smarm_leave
        .hidden smarm_leave
        .type   smarm_leave, @function
        .p2align 4
smarm_leave:
        .cfi_startproc
        .cfi_undefined %rip
        movq    %rdi, %rsp
        jmp     .Lresume
        .cfi_endproc
        .size   smarm_leave, .-smarm_leave

// The first frame of every stack. r12 is the function, r13 its argument; what it returns is the sp to resume, and this stack is dead. The unwinder and gdb stop here.
        .globl  smarm_stack_start
        .hidden smarm_stack_start
        .type   smarm_stack_start, @function
        .p2align 4
smarm_stack_start:
        .cfi_startproc
        .cfi_undefined %rip
.Lstart:
        movq    8+24(%rsp), %r12
        movq    8+16(%rsp), %r13
        addq    $64, %rsp               // all of the frame, so that rsp is aligned for a call
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        callq   *%r12
        movq    %rax, %rsp
        jmp     .Lresume
        .cfi_endproc
        .size   smarm_stack_start, .-smarm_stack_start

        .section .note.GNU-stack, "", @progbits
