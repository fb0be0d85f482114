#!/usr/bin/env python3
"""Run every chapter as a reader in Google Colab does: in an environment with Colab's versions and without nbdev, from an
empty folder, with the package installed by the chapter's own setup cell.

usage: colab.py [--python PYTHON] [--venv FOLDER] [NOTEBOOK ...]
PYTHON (python3.13 unless given) makes the environment; FOLDER keeps it for the next time (else it is made afresh, with a
download of some gigabytes). Cells that begin with `#| cuda` are left out where PyTorch sees no GPU.
Prints one line per check and `N passed, N failed` last; exits with 1 if anything failed. Standard library only.
"""
import argparse, ast, json, os, re, subprocess, sys, tempfile, time
from configparser import ConfigParser
from pathlib import Path
from checks import check, end

root = Path(__file__).resolve().parent.parent
URL = 'https://github.com/ddpm-lit/ddpm_lit'
# What Colab has before a notebook begins (github.com/googlecolab/backend-info, pip-freeze.gpu.txt of 19 August 2026,
# commit a724079, the first with Python 3.13): scipy, sympy and diffusers are there, nbdev is not
COLAB = '''torch==2.11.0 torchvision==0.26.0 numpy==2.1.3 matplotlib==3.10.0 pillow==11.3.0 scipy==1.16.3 sympy==1.14.0
    diffusers==0.39.0 huggingface_hub==1.27.0 safetensors==0.8.0 fastcore==2.2.12 tqdm==4.67.3 setuptools==75.2.0
    ipykernel==6.17.1 ipython==7.34.0 ipywidgets==7.7.1 jupyter_client==7.4.9 traitlets==5.7.1 tornado==6.5.7
    notebook==6.5.7 nbclient==0.10.4'''.split()
GUARD = "__import__('ddpm_lit')"   # the cell that installs the package has this in it
PROVIDES = dict(torchvision=['PIL', 'numpy'], ipywidgets=['IPython', 'psutil'])   # what comes with a requirement, or with any Jupyter


def environment(folder, python):
    "Make the environment in `folder` unless it is there; its Python."
    inside, marker = folder/'bin/python', folder/'colab.txt'
    if not (marker.is_file() and marker.read_text() == ' '.join(COLAB)):
        subprocess.run([python, '-m', 'venv', '--clear', folder], check=True)
        subprocess.run([inside, '-m', 'pip', 'install', '-q', 'pip==24.1.2'], check=True)   # Colab's
        subprocess.run([inside, '-m', 'pip', 'install', '-q', *COLAB], check=True)
        marker.write_text(' '.join(COLAB))
    subprocess.run([inside, '-m', 'pip', 'uninstall', '-q', '-y', 'ddpm_lit'], check=True)
    return inside


def snapshot(folder):
    "A repository whose one commit is the tree as it lies here, uncommitted changes and all."
    files = subprocess.run(['git', 'ls-files', '-coz', '--exclude-standard'], cwd=root, check=True, capture_output=True, text=True).stdout
    subprocess.run(['git', 'init', '-q', folder], check=True)
    git = ['git', f'--git-dir={folder}/.git', f'--work-tree={root}', '-c', 'user.name=colab', '-c', 'user.email=colab@localhost']
    there = '\0'.join(f for f in files.split('\0') if f and os.path.lexists(root/f))
    subprocess.run([*git, 'add', '--pathspec-from-file=-', '--pathspec-file-nul'], cwd=root, input=there, check=True, text=True)
    subprocess.run([*git, 'commit', '-q', '-m', 'snapshot'], cwd=root, check=True)
    subprocess.run(['git', 'reset', '-q', '--hard'], cwd=folder, check=True)


def code(path):
    "Sources of the code cells of a notebook."
    return [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']


def unannounced(path):
    "Modules a notebook imports that the package does not bring, in cells that don't begin with `# needs: pip install`."
    config = ConfigParser(delimiters=['='], interpolation=None)
    config.read(root/'settings.ini', encoding='utf-8')
    brought = {re.split(r'[<>=]', r)[0] for r in config['DEFAULT']['requirements'].split()}
    brought = brought | {m for r in brought for m in PROVIDES.get(r, ())} | {'ddpm_lit'}
    found = set()
    for cell in code(path):
        needs = re.match(r'(?:#\|.*\n)*# needs: pip install (.+)', cell)
        cell = '\n'.join('' if l.lstrip().startswith(('%', '!')) else l for l in cell.splitlines())
        tree = ast.parse(cell)
        inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}   # a function says itself what it needs
        for node in set(ast.walk(tree)) - inside:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            found |= {n.split('.')[0] for n in names} - brought - set(sys.stdlib_module_names) - set(needs[1].split() if needs else [])
    return sorted(found)


def local_pictures(path):
    "Pictures in the text whose address is relative: in Colab there is no such file."
    text = '\n'.join(''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown')
    return [a for pair in re.findall(r'!\[[^\]]*\]\(([^)\s]+)|<img[^>]*src="([^"]+)', text) for a in pair if a and not re.match('https?:|data:', a)]


def run(python, cells, cwd, env):
    "Run cells in a kernel of that environment; the outputs of the last cell and the error, each as text."
    code = '''
import json, sys, nbformat
from nbclient import NotebookClient
nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in json.load(sys.stdin)])
error = ''
try: NotebookClient(nb, timeout=1800, kernel_name='python3').execute()
except Exception as e: error = str(e) or repr(e)
said = ''.join(o.get('text') or o.get('data', {}).get('text/plain', '') for o in nb.cells[-1].outputs)
print(json.dumps([said, error]))
'''
    done = subprocess.run([python, '-c', code], input=json.dumps(cells), cwd=cwd, env=env, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else ['', f'the kernel ended with {done.returncode}']


def setup(python, notebooks, work, env):
    "The setup cell installs the package where it is missing, changes nothing else, and does nothing where it is there."
    cells = {nb.name: [c for c in code(nb) if GUARD in c] for nb in notebooks}
    meanings = {name: [ast.dump(ast.parse(c)) for c in found] for name, found in cells.items()}
    check('every notebook has one setup cell, and it is the same', all(len(c) == 1 for c in cells.values()) and len({m for ms in meanings.values() for m in ms}) == 1, cells)
    [cell, *_] = next(iter(cells.values()))
    check(f'the setup cell installs from {URL}', f'git+{URL}' in cell, cell)
    freeze = lambda: set(subprocess.run([python, '-m', 'pip', 'freeze'], check=True, capture_output=True, text=True).stdout.split('\n'))
    before, start = freeze(), time.time()
    # git fetches that address from the snapshot, so the cell runs as it stands
    local = env | dict(GIT_CONFIG_COUNT='1', GIT_CONFIG_KEY_0=f'url.{(work/"tree").as_uri()}.insteadOf', GIT_CONFIG_VALUE_0=URL)
    said, error = run(python, [cell, 'import ddpm_lit; print(ddpm_lit.__file__)', '!ddpm_lit_train --help'], work/'empty', local)
    check(f'the setup cell installs the package ({time.time() - start:.0f} s)', not error, error)
    check('the commands are on the path', 'usage: ddpm_lit_train' in said, said)
    after = freeze()
    new = {line for line in after - before if not line.startswith('ddpm_lit @ git+')}
    check('installing changes no other package', not new and not before - after, sorted(new | (before - after)))
    refuse = "get_ipython().run_line_magic = lambda *a: (_ for _ in ()).throw(AssertionError(f'called {a}'))"
    said, error = run(python, [refuse, cell], work/'empty', env)
    check('the setup cell does nothing where the package is', not error and not said, error or said)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('notebooks', nargs='*', type=Path)
    parser.add_argument('--python', default='python3.13')
    parser.add_argument('--venv', type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        (work/'empty').mkdir()
        start, venv = time.time(), (args.venv or work/'venv').resolve()
        python = environment(venv, args.python)
        env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')} | dict(
            PATH=f'{venv}/bin{os.pathsep}{os.environ["PATH"]}', GIT_TERMINAL_PROMPT='0', PIP_DISABLE_PIP_VERSION_CHECK='1')
        about = 'import platform, torch; print(platform.python_version(), torch.__version__, torch.cuda.is_available())'
        version, torch, cuda = subprocess.run([python, '-c', about], check=True, capture_output=True, text=True).stdout.split()
        print(f"Python {version}, torch {torch}, {'with' if cuda == 'True' else 'no'} GPU; environment ready after {time.time() - start:.0f} s", flush=True)
        snapshot(work/'tree')
        every = sorted((work/'tree/nbs').glob('*.ipynb'))
        asked = [nb for nb in every if not args.notebooks or nb.name in {a.name for a in args.notebooks}]
        for nb in every: check(f'{nb.name} announces what it needs beyond the package', not unannounced(nb), unannounced(nb))
        for nb in every: check(f'{nb.name}: its pictures show in Colab', not local_pictures(nb), local_pictures(nb))
        setup(python, every, work, env)
        for nb in asked:
            (here := work/nb.stem).mkdir()
            start, cells = time.time(), [c for c in code(nb) if cuda == 'True' or not c.startswith('#| cuda')]
            said, error = run(python, cells, here, env)
            check(f'{nb.name} runs from top to bottom ({time.time() - start:.0f} s)', not error, error)
    end()


if __name__ == '__main__': main()
