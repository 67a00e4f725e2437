// The answers to a job's questions about kernels. A pass of a layer can be computed by several kernels, which round differently;
// one answer holds for every rank whose device has the machine's name, so the numbers do not depend on where the model is cut.
// What is answered once is kept in a file and holds for later jobs, too: docs/train.md says what the file looks like.
//
// To see which kernels a job used, take job_events.settled (run/job.h). To look one up: numerics_find. To run two jobs with the
// same answers, give both the same struct numerics; to run them with answers that somebody chose, numerics_open_file.
//
// One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { NUMERICS_MAXIMUM_CANDIDATES = 8, NUMERICS_TEXT_SIZE = 160 };

#define NUMERICS_UNUSABLE UINT64_MAX // the time of a kernel that cannot be used

// Texts are printable ASCII without white space. What is found here is borrowed until numerics_close, and does not change.
struct numerics_answer {
	const char *machine;  // the device: "GenuineIntel-6-207/oneDNN-2.6.3/AVX-512/threads=1"
	const char *question; // "convolution-forward/n=4/in=64x16x16/out=128/k=3/s=1/p=1"
	uint32_t count;
	const char *names[NUMERICS_MAXIMUM_CANDIDATES]; // of the kernels
	uint64_t ns[NUMERICS_MAXIMUM_CANDIDATES];       // what each takes
	uint32_t choice;                                // the kernel that is used
};

struct numerics;

// In memory only. NULL: out of memory.
struct numerics *numerics_create(void);
// The file that somebody named; it need not be there. ERROR_USAGE: a line of it is wrong.
bool numerics_open_file(const char *path, struct numerics **ret_numerics, struct error *error);
// The user's: penstock/numerics in the cache folder (common/base/cache_file.h). Lines that are wrong are left out with a warning; where
// there is no place for a file, answers are kept in memory, and one line says so.
bool numerics_open_cache(struct numerics **ret_numerics, struct error *error);
void numerics_close(struct numerics *numerics); // takes NULL

const char *numerics_path(const struct numerics *numerics); // NULL: in memory
bool numerics_is_named(const struct numerics *numerics);    // numerics_open_file's
uint32_t numerics_count(const struct numerics *numerics);   // answers, those that later ones replaced included
// The last one; NULL: there is none.
const struct numerics_answer *numerics_find(const struct numerics *numerics, const char *machine, const char *question);
// Adds a copy, to the file too. `refused` is the answer that the caller found and cannot use; NULL: it found none. If another process
// has answered the question since then, its answer holds: *ret_answer is what numerics_find finds from now on. False where a named
// file cannot be written; a cache that cannot be is warned about once.
bool numerics_add(struct numerics *numerics, const struct numerics_answer *answer,
		  const struct numerics_answer *refused, const struct numerics_answer **ret_answer,
		  struct error *error);

// The fastest of `count`; the first one wins a tie of 2 %. `count`: none can be used.
uint32_t numerics_fastest(uint32_t count, const uint64_t *ns);
bool numerics_is_text(const char *text); // as texts must be, and not too long
