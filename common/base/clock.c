// See clock.h.
#include "common/base/clock.h"

uint64_t clock_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct timespec clock_after_ms(uint32_t ms)
{
	uint64_t after_ns = clock_now_ns() + ms * UINT64_C(1000000);
	return (struct timespec){.tv_sec = (time_t)(after_ns / 1000000000u), .tv_nsec = (long)(after_ns % 1000000000u)};
}

void clock_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}
