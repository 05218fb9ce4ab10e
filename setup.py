"""Packaging. The kernel library stands in its own folder, kernels/, and installs as tinycnn.kernels, so that no top-level name is taken."""
from setuptools import find_packages, setup

engine = find_packages(include=["tinycnn", "tinycnn.*"])
kernels = ["tinycnn.kernels"] + [f"tinycnn.kernels.{name}" for name in find_packages("kernels")]
layer_sets = "tinycnn.bench.layer_sets"  # what `tinycnn bench conv` measures: in the repository benchmarks/layers

setup(
    name="tinycnn",
    version="0.1.0",
    description="A convolutional-network engine from scratch: readable autograd, hand-written kernels, and the networks that made the field",
    python_requires=">=3.11",
    packages=[*engine, *kernels, layer_sets],
    package_dir={"tinycnn": "tinycnn", "tinycnn.kernels": "kernels", layer_sets: "benchmarks/layers"},
    package_data={"tinycnn": ["data/bundled/*", "pages/web/*"], "tinycnn.bench": ["*.cu"], layer_sets: ["*.json"],
                  **{package: ["*.cu", "*.h", "*.cpp"] for package in kernels}},
    install_requires=[
        "numpy>=2.0",
        "numba>=0.61",
        "threadpoolctl>=3.2",  # holds BLAS to one thread: the threads are ours
        "click>=8.1",  # the command line
        "tqdm>=4.66",  # progress bars
        "matplotlib>=3.8",  # plots
        "pillow>=10.0",  # image decoding
        "safetensors>=0.4",  # checkpoints
    ],
    extras_require={
        "cuda12": ["cupy-cuda12x>=13.3", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-runtime-cu12", "nvidia-cuda-nvcc-cu12"],  # the GPU, with a driver for CUDA 12
        "cuda13": ["cupy-cuda13x>=13.6", "nvidia-cuda-nvrtc>=13", "nvidia-cuda-runtime>=13", "nvidia-cuda-crt>=13"],  # the GPU, with a driver for CUDA 13
        "cuda-compile": ["nvidia-cuda-nvrtc>=13", "nvidia-cuda-runtime>=13", "nvidia-cuda-crt>=13"],  # compile the GPU's kernels without a GPU
        "bench": ["torch>=2.6", "onnxruntime>=1.20", "onnx>=1.17", "openvino>=2024.6", "MNN>=3.0", "ncnn>=1.0.20241226"],  # who we are measured against
        "notebook": ["nbclient>=0.10", "ipykernel>=6.29", "nbformat>=5.10"],  # docs/notebooks, and their test
        "cudnn12": ["nvidia-cudnn-cu12>=9.2"],  # the GPU's rival, for CUDA 12
        "cudnn13": ["nvidia-cudnn-cu13>=9.12"],  # the same for CUDA 13
        "browser": ["selenium>=4.20"],  # tests of the pages that `tinycnn explain` writes; needs Chromium and its driver
        "mpi": ["mpi4py>=4.0", "mpich>=4.2"],  # several processes (tinycnn/distributed); Open MPI will do as well
        "test": ["pytest>=8.0", "pytest-xdist>=3.5"],
        "lint": ["ruff==0.17.6"],
    },
    entry_points={"console_scripts": ["tinycnn = tinycnn.cli:main"]},
)
