#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns hooks.def into code. Usage: generate.py WHAT OUTPUT hooks.def NAMES.def...

WHAT is one of:
  header     indices, types and prototypes of everything in the table
  wrappers   the exported functions, and the tables of names and addresses
  trampolines  assembly for the stand-in: every other known name, as a jump to the original
  preload    the preload library's version script
  exports    the names that the stand-in exports, one per line, sorted
  check      says which guarded names are in neither hooks.def nor its pass list; fails if any is
"""

import re
import sys

ALIASES = {'u8': 'uint8_t', 'u16': 'uint16_t', 'u32': 'uint32_t', 'u64': 'uint64_t'}
KINDS = ('alloc', 'free', 'launch', 'copy', 'fill', 'sync', 'begin', 'end', 'own', 'need')
LINE = re.compile(r'(\w+)\s+(\w+)(?:\[([td])\])?\(([^()]*)\)(?:\s*\|\s*(.*))?$')


class Entry:
    def __init__(self, kind, symbol, arguments, options, per_thread):
        self.kind, self.symbol, self.options = kind, symbol, options
        self.per_thread = per_thread
        self.arguments = [] if arguments == 'void' else [a.strip() for a in arguments.split(',')]
        self.library = 'NVML' if symbol.startswith('nvml') else 'CUDA'

    def types(self):
        text = ', '.join(self.arguments) or 'void'
        return re.sub(r'\b(u8|u16|u32|u64)\b', lambda m: ALIASES[m[1]], text)

    def names(self):
        return ', '.join(re.search(r'(\w+)$', a)[1] for a in self.arguments)

    def option(self, key, otherwise=None):
        value = self.options.get(key, otherwise)
        return re.sub(r'\b(u32|u64)\b', lambda m: ALIASES[m[1]], value) if value else value


def fail(path, number, what):
    sys.exit(f'{path}:{number}: {what}')


def parse_options(path, number, text):
    options = {}
    for part in filter(None, (p.strip() for p in (text or '').split(';'))):
        key, equals, value = part.partition('=')
        if not equals:
            fail(path, number, f'"{part}" is not key=value')
        options[key.strip()] = value.strip()
    return options


def parse(path):
    entries, passes, guards = [], [], []
    for number, line in enumerate(open(path, encoding='utf-8'), 1):
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        kind, rest = line.split(None, 1)
        if kind == 'guard':
            guards.append(re.compile(rest))
        elif kind == 'pass':
            pattern = rest.split(' | ', 1)[0].strip()
            passes.append(re.compile(f'(?:{pattern})$'))
        elif kind in KINDS:
            match = LINE.match(line)
            if not match:
                fail(path, number, 'not KIND SYMBOL(ARGUMENTS) | options')
            _, symbol, variant, arguments, options = match.groups()
            options = parse_options(path, number, options)
            entries.append(Entry(kind, symbol, arguments, options, 0))
            if variant:
                suffix = {'t': '_ptsz', 'd': '_ptds'}[variant]
                entries.append(Entry(kind, symbol + suffix, arguments, options, 1))
        else:
            fail(path, number, f'unknown kind "{kind}"')
    seen = set()
    for entry in entries:
        if entry.symbol in seen and entry.kind != 'need':
            sys.exit(f'{path}: {entry.symbol} is there twice')
        seen.add(entry.symbol)
    return entries, passes, guards


def known_names(paths):
    names = []
    for path in paths:
        for line in open(path, encoding='utf-8'):
            match = re.match(r'[A-Z_]+\((.*)', line)
            words = re.findall(r'\b(cu[A-Z]\w*|nvml[A-Z]\w*)\b', match[1]) if match else []
            if words:
                names.append(words[-1] if line.startswith('DV_CUDA') else words[0])
    return sorted(set(names))


NOTE = '/* Generated from hooks.def by generate.py. */\n'


def header(entries, _names):
    out = [NOTE, '#ifndef DV_HOOKS_GEN_H', '#define DV_HOOKS_GEN_H', '',
           '#include <stddef.h>', '#include <stdint.h>', '', 'enum dv_original {']
    out += [f'    DV_F_{e.symbol},' for e in entries]
    out += ['    DV_F_COUNT', '};', '']
    out += [f'typedef int dv_f_{e.symbol}({e.types()});' for e in entries]
    handlers = {}
    for e in entries:
        if e.kind == 'own':
            types = 'unsigned original' + (', ' + e.types() if e.arguments else '')
            if handlers.setdefault(e.options['handler'], types) != types:
                if re.sub(r'\w+(?=,|$)', '', handlers[e.options['handler']]) != \
                        re.sub(r'\w+(?=,|$)', '', types):
                    sys.exit(f'{e.symbol}: handler {e.options["handler"]} has other arguments')
    out.append('')
    out += [f'int {name}({types});' for name, types in handlers.items()]
    out += ['', '#endif', '']
    return '\n'.join(out)


def undo(e):
    """"cuMemFree(*ret)" as a call of the original."""
    name, _, arguments = e.option('undo').partition('(')
    return f'(void)DV_ORIGINAL({name})({arguments};'


def body(e):
    call = f'DV_ORIGINAL({e.symbol})({e.names()})'
    args = ', '.join(filter(None, [e.symbol, e.names()]))
    out = [f'    DV_ENTER_{e.library}({args});']
    space = 'DV_SPACE_' + e.option('space', 'ADDRESS')
    if e.kind == 'own':
        handler = ', '.join(filter(None, [f'DV_F_{e.symbol}', e.names()]))
        out.append(f'    return {e.options["handler"]}({handler});')
    elif e.kind == 'alloc':
        if e.option('check'):
            out += [f'    int refused = {e.option("check")};', '    if (refused)',
                    '        return refused;']
        out += ['    struct dv_charge charge;',
                f'    int r = dv_charge_reserve(&charge, {e.option("bytes")});',
                '    if (r)', '        return r;', f'    r = {call};', '    if (r)',
                '        return dv_charge_cancel(&charge, r);']
        if e.option('actual'):
            out += [f'    if (dv_charge_true_up(&charge, {e.option("actual")})) {{',
                    f'        {undo(e)}',
                    '        return dv_charge_cancel(&charge, DV_CUDA_ERROR_OUT_OF_MEMORY);',
                    '    }']
        if e.option('overhead'):
            out += ['    if (dv_charge_true_up_overhead(&charge)) {',
                    f'        {undo(e)}',
                    '        return dv_charge_cancel(&charge, DV_CUDA_ERROR_OUT_OF_MEMORY);',
                    '    }']
        out.append(f'    return dv_charge_commit(&charge, {space}, (uint64_t)({e.option("key")}));')
    elif e.kind == 'free':
        out += ['    struct dv_charge charge;',
                f'    dv_charge_take(&charge, {space}, (uint64_t)({e.option("key")}));',
                f'    return dv_charge_drop(&charge, {call});']
    elif e.kind == 'launch':
        out += [f'    void *on = dv_compute_stream({e.option("stream")}, {e.per_thread});',
                f'    uint64_t signature = {e.option("signature")};',
                '    dv_compute_enter(signature, on);', f'    int r = {call};',
                '    dv_compute_leave(signature, on, r);', '    return r;']
    elif e.kind in ('copy', 'fill'):
        stream = e.option('stream', 'NULL')
        out += [f'    uint64_t length = {e.option("bytes")};', '    if (length < DV_LARGE)',
                f'        return {call};',
                f'    void *on = dv_compute_stream({stream}, {e.per_thread});',
                f'    uint64_t signature = dv_signature_bytes(DV_F_{e.symbol}, length);',
                '    dv_compute_enter(signature, on);', f'    int r = {call};',
                '    dv_compute_leave(signature, on, r);', '    return r;']
    elif e.kind in ('begin', 'end'):
        out += [f'    int r = {call};', f'    dv_compute_capture_{e.kind}(r);', '    return r;']
    elif e.kind == 'sync':
        out += ['    dv_compute_sync_enter();', f'    int r = {call};',
                '    dv_compute_sync_leave(r);', '    return r;']
    return out


def wrappers(entries, _names):
    out = [NOTE, '#include "wrap.h"', '']
    hooked = [e for e in entries if e.kind != 'need']
    out += [f'int {e.symbol}({e.types()});' for e in hooked] + ['']
    for e in hooked:
        out += [f'DV_EXPORT int {e.symbol}({e.types()})', '{', *body(e), '}', '']
    out += ['const char *const dv_original_names[DV_F_COUNT] = {']
    out += [f'    "{e.symbol}",' for e in entries]
    out += ['};', '', '/* Sorted by name; the ones that only the governor asks for are not in it. */',
            'const struct dv_hook dv_hooks[] = {']
    out += [f'    {{"{e.symbol}", (void *){e.symbol}, DV_F_{e.symbol}}},'
            for e in sorted(hooked, key=lambda e: e.symbol)]
    out += ['};', '', 'const unsigned dv_hooks_count = sizeof dv_hooks / sizeof *dv_hooks;', '']
    return '\n'.join(out)


COMMON_X86_64 = """
/* The first call of each name comes here with its index pushed: finds the original, keeps the
 * caller's argument registers, and goes on as if it had been called. */
    .type dv_trampoline_first, @function
dv_trampoline_first:
    .cfi_startproc
    .cfi_def_cfa_offset 16
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    subq $200, %rsp
    andq $-16, %rsp
    movq %rdi, (%rsp)
    movq %rsi, 8(%rsp)
    movq %rdx, 16(%rsp)
    movq %rcx, 24(%rsp)
    movq %r8, 32(%rsp)
    movq %r9, 40(%rsp)
    movq %rax, 48(%rsp)
    movups %xmm0, 64(%rsp)
    movups %xmm1, 80(%rsp)
    movups %xmm2, 96(%rsp)
    movups %xmm3, 112(%rsp)
    movups %xmm4, 128(%rsp)
    movups %xmm5, 144(%rsp)
    movups %xmm6, 160(%rsp)
    movups %xmm7, 176(%rsp)
    movl 8(%rbp), %edi
    call dv_trampoline_resolve@PLT
    movq %rax, %r11
    movq (%rsp), %rdi
    movq 8(%rsp), %rsi
    movq 16(%rsp), %rdx
    movq 24(%rsp), %rcx
    movq 32(%rsp), %r8
    movq 40(%rsp), %r9
    movq 48(%rsp), %rax
    movups 64(%rsp), %xmm0
    movups 80(%rsp), %xmm1
    movups 96(%rsp), %xmm2
    movups 112(%rsp), %xmm3
    movups 128(%rsp), %xmm4
    movups 144(%rsp), %xmm5
    movups 160(%rsp), %xmm6
    movups 176(%rsp), %xmm7
    leave
    .cfi_def_cfa %rsp, 16
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    jmp *%r11
    .cfi_endproc
    .size dv_trampoline_first, . - dv_trampoline_first
"""


def trampolines(entries, names):
    hooked = {e.symbol for e in entries if e.kind != 'need'}
    rest = [n for n in names if n not in hooked]
    out = [NOTE, '#if !defined(__x86_64__)', '#error "the stand-in is written for x86-64"', '#endif',
           '    .text', COMMON_X86_64]
    for i, name in enumerate(rest):
        out += [f'    .globl {name}', f'    .type {name}, @function', '    .p2align 4', f'{name}:',
                '    .cfi_startproc', '    endbr64',
                f'    jmp *dv_trampoline_table+{8 * i}(%rip)',
                f'.Lfirst{i}:',
                f'    pushq ${i}', '    .cfi_adjust_cfa_offset 8', '    jmp dv_trampoline_first',
                '    .cfi_endproc', f'    .size {name}, . - {name}']
    out += ['    .section .data.rel.local,"aw",@progbits', '    .p2align 3',
            '    .globl dv_trampoline_table', '    .hidden dv_trampoline_table',
            '    .type dv_trampoline_table, @object', 'dv_trampoline_table:']
    out += [f'    .quad .Lfirst{i}' for i in range(len(rest))]
    out += ['    .size dv_trampoline_table, . - dv_trampoline_table',
            '    .section .rodata.str1.1,"aMS",@progbits,1']
    out += [f'.Lname{i}: .string "{n}"' for i, n in enumerate(rest)]
    out += ['    .section .data.rel.ro.local,"aw",@progbits', '    .p2align 3',
            '    .globl dv_trampoline_names', '    .hidden dv_trampoline_names',
            'dv_trampoline_names:']
    out += [f'    .quad .Lname{i}' for i in range(len(rest))]
    out += ['    .quad 0', '    .section .note.GNU-stack,"",@progbits', '']
    return '\n'.join(filter(None, out)) + '\n'


def preload(entries, _names):
    return ('/* dlsym and dlvsym under the versions that programs have been linked against; the\n'
            ' * other names carry no version. What is not meant to be seen is hidden already. */\n'
            'GLIBC_2.2.5 {\n};\nGLIBC_2.34 {\n} GLIBC_2.2.5;\n')


def exports(entries, names):
    hooked = {e.symbol for e in entries if e.kind != 'need'}
    return '\n'.join(sorted(hooked | set(names))) + '\n'


def check(entries, names, passes, guards):
    hooked = {e.symbol for e in entries if e.kind != 'need'}
    missing = [n for n in names
               if any(g.match(n) for g in guards) and n not in hooked
               and not any(p.match(n) for p in passes)]
    if missing:
        sys.exit('guarded, but neither hooked nor passed with a reason:\n  ' + '\n  '.join(missing))
    unknown = sorted(e.symbol for e in entries if names and e.symbol not in names)
    return f'{len(hooked)} hooked, {len(names)} known\n' + ''.join(
        f'not a known name: {n}\n' for n in unknown)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    what, output, table, *lists = sys.argv[1:]
    entries, passes, guards = parse(table)
    names = known_names(lists)
    makers = {'header': header, 'wrappers': wrappers, 'trampolines': trampolines,
              'preload': preload, 'exports': exports}
    text = check(entries, names, passes, guards) if what == 'check' else \
        makers[what](entries, names)
    if output == '-':
        sys.stdout.write(text)
    else:
        with open(output, 'w', encoding='utf-8') as f:
            f.write(text)


main()
