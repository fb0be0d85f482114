"Package metadata comes from settings.ini, so that nbdev and pip read one and the same file."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
config = ConfigParser(delimiters=['='], interpolation=None)
config.read(root/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(root/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    url=cfg['git_url'],
    keywords=cfg['keywords'].split(),
    license='Apache-2.0',
    license_files=['LICENSE', 'ddpm_lit/assets/LICENSE*'],
    classifiers=['Intended Audience :: Science/Research', 'Programming Language :: Python :: 3',
                 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
    packages=find_packages(include=['ddpm_lit', 'ddpm_lit.*']),
    package_data={'ddpm_lit': ['assets/*']},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require={name: cfg[f'{name}_requirements'].split() for name in ('dev', 'evaluate', 'site', 'bench')},
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    zip_safe=False,
)
