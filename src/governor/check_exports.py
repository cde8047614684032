#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_exports.py PRELOAD STANDIN EXPORTS: what the libraries show is what hooks.def says."""

import subprocess
import sys


def shown(path):
    out = subprocess.run(['nm', '-D', '--defined-only', path], check=True, text=True,
                         capture_output=True).stdout
    return {line.split()[2] for line in out.splitlines() if line.split()[1] in 'TtWw'}


def main():
    preload, standin, exports = sys.argv[1:]
    want = set(open(exports, encoding='utf-8').read().split()) | {'divvy_governor'}
    have = shown(standin)
    if have != want:
        sys.exit(f'stand-in: missing {sorted(want - have)}, too many {sorted(have - want)}')
    have = shown(preload)
    lookups = {f'{name}{version}' for name in ('dlsym', 'dlvsym')
               for version in ('@GLIBC_2.2.5', '@@GLIBC_2.34')}
    extra = have - want - lookups
    if extra or not lookups <= have or 'cuMemAlloc_v2' not in have:
        sys.exit(f'preload: too many {sorted(extra)}, missing {sorted(lookups - have)}')
    print(f'{len(want)} names of the stand-in, {len(have)} of the preload library')


main()
