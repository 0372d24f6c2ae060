// From a signal to the scheduler and back: an actor is stopped between two instructions of its own, with everything that a processor holds of it in use.
// The handler (async_preempt.cpp) has put the address of that instruction 136 bytes below the actor's rsp, past the red zone, and left rsp there.

        .macro  keep reg
        pushq   %\reg
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %\reg, 0
        .endm
        .macro  restore reg
        popq    %\reg
        .cfi_adjust_cfa_offset -8
        .cfi_restore %\reg
        .endm

        .text
        .globl  smarm_preempt_trampoline
        .hidden smarm_preempt_trampoline
        .type   smarm_preempt_trampoline, @function
        .p2align 4
smarm_preempt_trampoline:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_def_cfa %rsp, 136
        .cfi_offset %rip, -136
        pushfq
        .cfi_adjust_cfa_offset 8
        keep    rax
        keep    rcx
        keep    rdx
        keep    rsi
        keep    rdi
        keep    r8
        keep    r9
        keep    r10
        keep    r11
        keep    rbx
        keep    rbp
        keep    r12
        keep    r13
        keep    r14
        keep    r15
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        subq    smarm_xsave_size(%rip), %rsp
        andq    $-64, %rsp
        cld
        xorl    %eax, %eax              // the header must be zero before the first save
        movq    %rax, 512(%rsp)
        movq    %rax, 520(%rsp)
        movq    %rax, 528(%rsp)
        movq    %rax, 536(%rsp)
        movq    %rax, 544(%rsp)
        movq    %rax, 552(%rsp)
        movq    %rax, 560(%rsp)
        movq    %rax, 568(%rsp)
        movl    $-1, %eax               // all that the kernel has switched on
        movl    %eax, %edx
        xsavec64 (%rsp)
        fninit
        ldmxcsr .Ldefault_mxcsr(%rip)
        vzeroupper
        callq   smarm_preempted
        movl    $-1, %eax
        movl    %eax, %edx
        xrstor64 (%rsp)
        movq    %rbx, %rsp
        .cfi_def_cfa_register %rsp
        restore r15
        restore r14
        restore r13
        restore r12
        restore rbp
        restore rbx
        restore r11
        restore r10
        restore r9
        restore r8
        restore rdi
        restore rsi
        restore rdx
        restore rcx
        restore rax
        popfq
        .cfi_adjust_cfa_offset -8
        ret     $128
        .cfi_endproc
        .size   smarm_preempt_trampoline, .-smarm_preempt_trampoline

        .section .rodata
        .p2align 2
.Ldefault_mxcsr:
        .long   0x1f80

        .section .note.GNU-stack, "", @progbits
