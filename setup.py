"""Packaging. See README.md for the two commands that install everything."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r"__version__ = '([^']+)'", (ROOT / 'pdd_arch/version.py').read_text()).group(1)

# basicsr 1.4.2 is published as source only, and its setup.py reads its own version in a way that Python 3.13 no longer
# allows (PEP 667). A wheel of it built under 3.12 is pure Python and works there.
BASICSR = 'basicsr==1.4.2'


def installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


if sys.version_info >= (3, 13) and not installed('basicsr'):
    sys.exit(
        f'\npdd_arch: {BASICSR} does not build on Python {sys.version_info[0]}.{sys.version_info[1]}: '
        'its setup.py fails from Python 3.13 on.\n'
        'Use Python 3.10, 3.11 or 3.12; or build its wheel there and install that here first:\n'
        f'    python3.12 -m pip wheel --no-deps -w wheels {BASICSR}\n'
        '    python -m pip install wheels/*.whl\n'
        'and then install pdd_arch with --no-build-isolation (README, "Install and try").\n'
    )

setup(
    name='pdd_arch',
    version=VERSION,
    description='Adapt a blind super-resolution network to one real camera without ground truth: pairwise distance '
    'distillation for BasicSR and Real-ESRGAN',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    license_files=['LICENSE'],
    python_requires='>=3.10',
    packages=[*find_packages(include=['pdd_arch', 'pdd_arch.*']), 'pdd_arch.option_files'],
    package_dir={'pdd_arch.option_files': 'options'},
    package_data={
        'pdd_arch': ['README.md', 'py.typed', 'assets/*', 'report/static/*'],
        'pdd_arch.option_files': ['*.yml', 'fast/*.yml', 'schema.json', 'README.md'],
    },
    install_requires=[
        BASICSR,  # compat.py repairs exactly this version
        'realesrgan>=0.3.0',
        'torch>=2.4',
        'torchvision>=0.19',
        'numpy>=1.24',
        'opencv-python>=4.8',
        'pillow>=10.1',
        'piq>=0.8',  # the demo's perceptual distances, which need no weights
        'pydantic>=2.7',
        'pyyaml>=6.0',
        'filelock>=3.12',  # torch needs it as well
        'lmdb>=1.3',
        'lpips>=0.1.4',
        'safetensors>=0.4',
        'psutil>=5.9',
        'scikit-image>=0.22',  # photographs of the demo
        'scipy>=1.9',
        'spandrel>=0.4',
        'tqdm>=4.60',
    ],
    extras_require={
        'test': [
            'grimp>=3.5',
            'hypothesis>=6',
            'import-linter>=2.1',
            'jsonschema>=4.10',
            'mypy>=1.15',
            'onnx>=1.16',
            'onnxruntime>=1.18',
            'pytest>=8',
            'pytest-timeout>=2.3',
            'pytest-xdist>=3.5',
            'ruff>=0.9',
            'types-PyYAML',
            'types-psutil',
            'types-tqdm',
        ],
        'eval': ['pyiqa>=0.1.10'],
        'export': ['onnx>=1.16', 'onnxruntime>=1.18'],
    },
    entry_points={
        'console_scripts': [
            'basicsr = pdd_arch.commands.basicsr_cli:entry_point',
            'pdd = pdd_arch.commands.pdd_cli:entry_point',
        ]
    },
    classifiers=[
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
)
