"""Packaging. See README.md for the two commands that install everything."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r"__version__ = '([^']+)'", (ROOT / 'pdd_arch/version.py').read_text()).group(1)

BASICSR = 'basicsr==1.4.2'


def can_build_basicsr() -> bool:
    """Whether pip will get BasicSR, which is published as source only: see pdd_arch/building/sitecustomize.py."""
    try:
        version('basicsr')
    except PackageNotFoundError:
        return sys.version_info < (3, 13) or hasattr(exec, '__wrapped__')
    return True


if not can_build_basicsr():
    sys.exit(
        f'\npdd_arch: {BASICSR}, which it needs, builds on Python {sys.version_info[0]}.{sys.version_info[1]} with the '
        "README's commands only. In a checkout of pdd_arch:\n"
        '    pip install -U pip "setuptools<85" wheel cython numpy && pip install torch torchvision\n'
        '    PYTHONPATH=pdd_arch/building pip install --no-build-isolation .\n'
        'Or use Python 3.10, 3.11 or 3.12, where any pip install works.\n'
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
            'pytest-xdist>=3.7',
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
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
)
