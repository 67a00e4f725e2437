// Monotonic time, and condition variables that wait by it. Any thread.
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

uint64_t clock_now_ns(void);
struct timespec clock_after_ms(uint32_t ms); // from now: a limit for pthread_cond_timedwait
void clock_condition_init(pthread_cond_t *condition);
