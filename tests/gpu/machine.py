"""What the GPU suite runs on: GPU, driver, NVIDIA's libraries by the rules of stage_server/device/cuda/libraries.h, PyTorch,
compute-sanitizer, and what the card can do at best."""

import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys

# Dense TFLOP/s of NVIDIA's data sheets: bf16 and fp16 (summed in fp32) and TF32 of the tensor cores, without sparsity, and fp32
# of the other cores. By the name that the driver gives; the first that matches.
PEAKS = [
    (r"B200", {"bf16": 2250.0, "tf32": 1125.0, "fp32": 75.0}),
    (r"H200 NVL|H100 NVL", {"bf16": 835.5, "tf32": 417.5, "fp32": 60.0}),
    (r"H100 PCIe", {"bf16": 756.5, "tf32": 378.0, "fp32": 51.0}),
    (r"H200|H100 80GB HBM3|GH200", {"bf16": 989.5, "tf32": 494.5, "fp32": 67.0}),
    (r"A100", {"bf16": 312.0, "tf32": 156.0, "fp32": 19.5}),
    (r"L40S", {"bf16": 362.05, "tf32": 183.0, "fp32": 91.6}),
    (r"A40\b", {"bf16": 149.7, "tf32": 74.8, "fp32": 37.4}),
    (r"A30\b", {"bf16": 165.0, "tf32": 82.0, "fp32": 10.3}),
    (r"A10\b", {"bf16": 125.0, "tf32": 62.5, "fp32": 31.2}),
    (r"L4\b", {"bf16": 121.0, "tf32": 60.0, "fp32": 30.3}),
]
LIBRARIES = ["libcudnn.so.9", "libcublasLt.so.13"]


def peak(name):
    for pattern, values in PEAKS:
        if re.search(pattern, name):
            return dict(values, fp16=values["bf16"])
    return None


def output(command, seconds=30):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def wheel_folders(prefixes):
    return [folder for prefix in prefixes for folder in sorted(glob.glob(f"{prefix}/lib*/python3*/*-packages/nvidia/*/lib"))]


def python():
    """The interpreter that may have torch."""
    return os.environ.get("PENSTOCK_PYTHON") or sys.executable


def loads(name):
    """By the loader's own path. In another process: a library of this size need not stay in this one."""
    return bool(output([sys.executable, "-c", f"import ctypes; ctypes.CDLL({name!r}); print(1)"]))


def where(name):
    """As the daemon looks for it, in that order; None when it will not find it."""
    chosen = os.environ.get("PENSTOCK_CUDA_LIBRARY_PATH")
    if chosen:  # then nowhere else
        return next((folder for folder in chosen.split(":") if os.path.exists(os.path.join(folder, name))), None)
    if loads(name):
        return "the loader's path"
    folders = ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"]
    folders += wheel_folders(filter(None, [os.environ.get("VIRTUAL_ENV"), "/usr/local", "/usr"]))
    return next((folder for folder in folders if os.path.exists(os.path.join(folder, name))), None)


def wheels_of_torch():
    """The lib folders beside torch, of a Python that the daemon does not know."""
    found = output([python(), "-c", "import glob, sys\nfor p in sys.path:\n  for f in sorted(glob.glob(p + '/nvidia/*/lib')): print(f)"])
    return found.split("\n") if found else []


def driver_version():
    text = output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    if text:
        return text.splitlines()[0].strip()
    try:
        with open("/proc/driver/nvidia/version") as file:
            return re.search(r"Kernel Module\D*([\d.]+)", file.read())[1]
    except (OSError, TypeError):
        return "unknown"


def gpu(index):
    """Name and memory, by the driver's library: it numbers GPUs as the programs under test do, whatever CUDA_VISIBLE_DEVICES says."""
    device, name, size = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.c_size_t()
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        if (cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(name, 128, device)
                or cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)):
            return "unknown", "unknown"
    except (OSError, AttributeError):
        return "unknown", "unknown"
    return name.value.decode(), f"{size.value >> 20} MiB"


def hide_others(index):
    """So that "cuda" and "cuda:0" are the one that is tested, for every program."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index] if visible else str(index)


def describe(device):
    """Everything above, and `lines` that say it to people. `library_path` is what the daemon must be told: "" when it needs nothing."""
    index = int(device.split(":")[1]) if ":" in device else 0
    on_gpu = device.startswith("cuda")
    name, memory = gpu(index) if on_gpu else (device, "unknown")
    folders = {library: where(library) for library in LIBRARIES} if on_gpu else {}
    library_path = ""
    if None in folders.values() and not os.environ.get("PENSTOCK_CUDA_LIBRARY_PATH"):
        beside_torch = wheels_of_torch()
        for library in folders:
            folders[library] = folders[library] or next((f for f in beside_torch if os.path.exists(os.path.join(f, library))), None)
        # One that the loader finds need not be beside the others, and what is named here is all that is looked at.
        if None not in folders.values():
            library_path = ":".join([*beside_torch, *(folder for folder in folders.values() if folder.startswith("/"))])
    torch = output([python(), "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"], 60).split()
    sanitizer = shutil.which("compute-sanitizer") or next(
        (path for path in ["/usr/local/cuda/bin/compute-sanitizer", "/usr/local/cuda/compute-sanitizer/compute-sanitizer"]
         + glob.glob("/usr/local/cuda-13*/bin/compute-sanitizer") if os.path.exists(path)), None)
    here = {"gpu": name, "driver": driver_version() if on_gpu else "none", "memory": memory, "libraries": folders,
            "library_path": library_path, "python": python(),
            "torch": torch[0] if torch else None, "torch_sees_gpu": torch[1:] == ["True"], "compute_sanitizer": sanitizer,
            "peak": peak(name), "cores": os.cpu_count()}
    here["lines"] = [f"GPU                {here['gpu']}, {here['memory']}", f"driver             {here['driver']}"]
    here["lines"] += [f"{library:18} {folder or 'not found: see docs/gpu.md'}" for library, folder in folders.items()]
    if library_path:
        here["lines"].append(f"                   (told to the daemon in PENSTOCK_CUDA_LIBRARY_PATH: {python()} has them)")
    here["lines"].append(f"PyTorch            {here['torch'] or 'none: nothing is compared to it'}"
                         + ("" if here["torch_sees_gpu"] or not here["torch"] else ", which sees no GPU"))
    here["lines"].append(f"compute-sanitizer  {sanitizer or 'none: it is left out'}")
    return here
