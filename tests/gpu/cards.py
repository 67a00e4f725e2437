"""What NVIDIA's cards can do at best, by the name that the driver gives.

The figures are meant to be those of NVIDIA's data sheets and architecture papers, but no sheet was opened for them: they were gathered on
2026-11-28 from excerpts that a search gave, of resellers' pages and wikis among others, and some were derived from another card of the same
chip or written down from memory. A share of a card's peak is as good as its row: whoever has the sheet mends the row, and says beside it
that it was read there. A row holds dense figures (half of what a sheet prints "with sparsity"), per GPU, summed in fp32. bf16 (fp16 is the same)
and tf32 are the tensor cores', fp32 the other cores'. A name that lacks a type has none: Turing knows neither bf16 nor TF32. Cards older
than Turing are not CUDA 13's."""

import re

# (name, TFLOP/s by type, GB/s of the memory); the first that matches.
CARDS = [
    # Blackwell; to be held against its data sheet (GB200 NVL72 and HGX B200: the table "Individual Blackwell GPU Specifications"), HGX B300's
    # page and the RTX Blackwell architecture paper. Driver names: "NVIDIA GB200", "NVIDIA B200".
    (r"GB200", {"bf16": 2500.0, "tf32": 1250.0, "fp32": 80.0}, 8000),
    (r"B200", {"bf16": 2250.0, "tf32": 1100.0, "fp32": 75.0}, 7700),
    (r"B300", {"bf16": 2250.0, "tf32": 1125.0, "fp32": 75.0}, 8000),
    (r"RTX 5090\b(?! D| Laptop)", {"bf16": 209.5, "tf32": 104.8, "fp32": 104.8}, 1792),
    # Hopper; to be held against the data sheets of H100 and H200. Driver names: "NVIDIA H200", "NVIDIA H100 80GB HBM3" (SXM),
    # "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA GH200 480GB".
    (r"H200 NVL", {"bf16": 835.5, "tf32": 417.5, "fp32": 60.0}, 4800),
    (r"H100 NVL", {"bf16": 835.5, "tf32": 417.5, "fp32": 60.0}, 3900),
    (r"H100 PCIe", {"bf16": 756.5, "tf32": 378.0, "fp32": 51.0}, 2000),
    (r"GH200", {"bf16": 989.5, "tf32": 494.5, "fp32": 67.0}, 4000),
    (r"H200", {"bf16": 989.5, "tf32": 494.5, "fp32": 67.0}, 4800),
    (r"H100 80GB HBM3", {"bf16": 989.5, "tf32": 494.5, "fp32": 67.0}, 3350),
    (r"H20\b", {"bf16": 148.0, "tf32": 74.0, "fp32": 44.0}, 4000),  # resellers'; no sheet of NVIDIA's was found
    # Ada; to be held against the data sheets of L40S, L40 and L4; the Ada architecture paper.
    (r"L40S", {"bf16": 362.05, "tf32": 183.0, "fp32": 91.6}, 864),
    (r"L40\b", {"bf16": 181.05, "tf32": 90.5, "fp32": 90.5}, 864),
    (r"L4\b", {"bf16": 121.0, "tf32": 60.0, "fp32": 30.3}, 300),
    (r"RTX 4090\b(?! D| Laptop)", {"bf16": 165.2, "tf32": 82.6, "fp32": 82.6}, 1008),
    # Ampere; to be held against the data sheets of A100, A40, A30 and A10; RTX A6000's. Driver names: "NVIDIA A100-SXM4-80GB",
    # "NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-40GB".
    (r"A100.SXM4.80GB", {"bf16": 312.0, "tf32": 156.0, "fp32": 19.5}, 2039),
    (r"A100 80GB PCIe", {"bf16": 312.0, "tf32": 156.0, "fp32": 19.5}, 1935),
    (r"A100", {"bf16": 312.0, "tf32": 156.0, "fp32": 19.5}, 1555),
    (r"A40\b", {"bf16": 149.7, "tf32": 74.8, "fp32": 37.4}, 696),
    (r"A30\b", {"bf16": 165.0, "tf32": 82.0, "fp32": 10.3}, 933),
    (r"A10\b", {"bf16": 125.0, "tf32": 62.5, "fp32": 31.2}, 600),
    (r"RTX A6000", {"bf16": 154.8, "tf32": 77.4, "fp32": 38.7}, 768),
    # Turing; to be held against the data sheet of T4.
    (r"\bT4\b", {"fp16": 65.0, "fp32": 8.1}, 320),
]


def card(name):
    """{"bf16", "fp16", "tf32", "fp32": TFLOP/s, "memory": GB/s}; None for one that is not in the table."""
    if "MIG" in name:  # a part of a card, and not said here which
        return None
    for pattern, peaks, memory in CARDS:
        if re.search(pattern, name):
            return dict({"fp16": peaks.get("bf16")}, **peaks, memory=memory)
    return None
