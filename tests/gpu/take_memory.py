"""Takes all of a GPU's memory but some, says how many bytes it took, and holds them until its input ends. By the driver's library, with
plain allocations. Usage: take_memory.py INDEX BYTES-TO-LEAVE"""

import ctypes
import sys


def main():
    index, leave = int(sys.argv[1]), int(sys.argv[2])
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(name, *arguments):
        status = getattr(cuda, name)(*arguments)
        if status:
            sys.exit(f"take_memory: {name}: CUDA error {status}")

    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), index)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    taken, piece = 0, 1 << 30
    while piece >= 2 << 20:
        call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        pointer = ctypes.c_uint64()
        if free.value < leave + piece or cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(piece)):
            piece //= 2
        else:
            taken += piece
    print(taken, flush=True)
    sys.stdin.read()


main()
