// From a fault to the function that throws for it. frame.hpp says what a FaultFrame is; the offsets are the same there.

        // Column `reg` of the caller is at rsp + offset; offset below 64 takes one byte, above it two.
        .macro  saved_near reg, offset
        .cfi_escape 0x10, \reg, 2, 0x77, \offset
        .endm
        .macro  saved_far reg, offset
        .cfi_escape 0x10, \reg, 3, 0x77, 0x80 | (\offset & 0x7f), \offset >> 7
        .endm
        // Into the frame at r8: what a function must leave as it was.
        .macro  save_callee_saved
        movq    %rbx, 24(%r8)
        movq    %rbp, 48(%r8)
        movq    %r12, 96(%r8)
        movq    %r13, 104(%r8)
        movq    %r14, 112(%r8)
        movq    %r15, 120(%r8)
        .endm

        .text

// A signal frame: the caller's ip is an instruction that was not finished, in whose place something is thrown. The caller's rsp, which is this frame's CFA, is
// the one that the FaultFrame holds.
        .globl  smarm_fault_trampoline
        .hidden smarm_fault_trampoline
        .type   smarm_fault_trampoline, @function
        .p2align 4
smarm_fault_trampoline:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_escape 0x0f, 3, 0x77, 56, 0x06     // CFA = *(rsp + 56)
        saved_near 0, 0
        saved_near 1, 8
        saved_near 2, 16
        saved_near 3, 24
        saved_near 4, 32
        saved_near 5, 40
        saved_near 6, 48
        saved_far 8, 64
        saved_far 9, 72
        saved_far 10, 80
        saved_far 11, 88
        saved_far 12, 96
        saved_far 13, 104
        saved_far 14, 112
        saved_far 15, 120
        saved_far 16, 128
        cld
        fnclex                          // an x87 exception that is still pending would be raised again
        emms
        callq   smarm_raise_fault
        ud2
        .cfi_endproc
        .size   smarm_fault_trampoline, .-smarm_fault_trampoline

// [[noreturn]] void smarm_fault_here(FaultCause [edi], int signal [esi], const void* address [rdx], void* sp [rcx])
        .globl  smarm_fault_here
        .hidden smarm_fault_here
        .type   smarm_fault_here, @function
        .p2align 4
smarm_fault_here:
        .cfi_startproc
        xorl    %eax, %eax
        testq   %rcx, %rcx
        setne   %al                     // on another stack: that flow is abandoned
        cmoveq  %rsp, %rcx
        leaq    -160(%rcx), %r8
        andq    $-16, %r8
        movq    %rsp, %r10
        .cfi_def_cfa_register %r10
        movq    %r8, %rsp               // before the frame is written: below rsp it would be anybody's
        save_callee_saved
        leaq    8(%r10), %r9
        movq    %r9, 56(%r8)
        movq    (%r10), %r9             // inside the call, which is what fails
        decq    %r9
        movq    %r9, 128(%r8)
        movl    %edi, 136(%r8)
        movl    %esi, 140(%r8)
        movq    %rdx, 144(%r8)
        movq    %rax, 152(%r8)
        movq    %r8, %rdi
        jmp     smarm_fault_trampoline
        .cfi_endproc
        .size   smarm_fault_here, .-smarm_fault_here

// Where a function returns to that met the guard and could not be unwound: its caller fails in place of going on. That the return address was another is not
// written here, so an unwinding from inside the function ends at this frame.
        .globl  smarm_diverted_return
        .hidden smarm_diverted_return
        .type   smarm_diverted_return, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        nop                             // a return address is looked up one byte before itself
smarm_diverted_return:
        movq    %rsp, %r10
        leaq    -160(%rsp), %r8
        andq    $-16, %r8
        movq    %r8, %rsp
        movq    %r10, 56(%r8)
        save_callee_saved
        movq    %r8, %rdi
        callq   smarm_diverted          // fills in the rest; the frame may have to be elsewhere
        movq    %rax, %rdi
        movq    %rax, %rsp
        jmp     smarm_fault_trampoline
        .cfi_endproc
        .size   smarm_diverted_return, .-smarm_diverted_return

        .section .note.GNU-stack, "", @progbits
