// Monotonic time. Any thread.
#pragma once

#include <stdint.h>

uint64_t clock_now_ns(void);
