"""Count checks, print a line for each, and end with `N passed, N failed`."""
import sys

passed, failed = 0, []


def check(name, ok, detail=''):
    "Count and print one check; `detail` says what was wrong, its end if it is long."
    global passed
    if ok: passed += 1
    else: failed.append(name)
    print(f"{'ok' if ok else 'FAILED'}: {name}" + ('' if ok else f': {str(detail)[-4000:]}'), flush=True)


def end():
    "Name what failed, print the count and leave, with 1 if anything failed."
    for name in failed: print(f'failed: {name}')
    print(f'{passed} passed, {len(failed)} failed')
    sys.exit(bool(failed))
