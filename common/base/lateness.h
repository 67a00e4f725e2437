// Whether this process itself is late. One that was stopped or had no processor, or whose network threads have more waiting than they can
// handle, hears everybody late: the silence is its own, and its peers get a fresh interval before they are taken for lost.
// Pure data and time; one thread.
#pragma once

#include <stdint.h>

enum { LATENESS_MAXIMUM_MS = 2000 }; // between two looks, and of what waits to be handled

struct lateness {
	uint64_t looked_ns;  // 0: not yet
	uint64_t excused_ns; // silence counts from here on
};

// Several times in LATENESS_MAXIMUM_MS, and before a silence is judged. `behind_ns`: how long what came waits until it is handled.
void lateness_look(struct lateness *lateness, uint64_t now_ns, uint64_t behind_ns);
// For how long one of whom the last was heard at `heard_ns` can be said to be silent.
uint64_t lateness_silence_ms(const struct lateness *lateness, uint64_t heard_ns, uint64_t now_ns);
