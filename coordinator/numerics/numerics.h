// The answers to a job's questions about kernels. A pass of a layer can be computed by several kernels, which round differently;
// all ranks whose devices have the same machine name use the same answer, so the numbers do not depend on where the model is cut.
// A file keeps the answers for later jobs; docs/train.md describes its format.
//
// job_events.settled (run/job.h) tells which kernels a job uses; numerics_find looks one up. To run two jobs with the same answers, give
// both the same struct numerics. To run them with chosen answers, use numerics_open_file.
//
// One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { NUMERICS_MAXIMUM_CANDIDATES = 8, NUMERICS_TEXT_SIZE = 160 };

#define NUMERICS_UNUSABLE UINT64_MAX // the time of a kernel that cannot be used

// Texts are printable ASCII without white space. Answers are borrowed until numerics_close, and do not change.
struct numerics_answer {
	const char *machine;  // the device: "GenuineIntel-6-207/oneDNN-2.6.3/AVX-512/threads=1"
	const char *question; // "convolution-forward/n=4/in=64x16x16/out=128/k=3/s=1/p=1"
	uint32_t count;
	const char *names[NUMERICS_MAXIMUM_CANDIDATES]; // of the kernels
	uint64_t ns[NUMERICS_MAXIMUM_CANDIDATES];       // measured time of each kernel
	uint32_t choice;                                // the kernel that is used
};

struct numerics;

// In memory only. NULL: out of memory.
struct numerics *numerics_create(void);
// A file that the user named; it need not exist if it can be created. ERROR_USAGE: a line of it is wrong, or it has no answers and cannot
// be written.
bool numerics_open_file(const char *path, struct numerics **ret_numerics, struct error *error);
// The file penstock/numerics in the user's cache folder (common/base/cache_file.h). Wrong lines are ignored with a warning. If there is no
// place for a file, answers are kept in memory, with a warning.
bool numerics_open_cache(struct numerics **ret_numerics, struct error *error);
void numerics_close(struct numerics *numerics); // takes NULL

const char *numerics_path(const struct numerics *numerics); // NULL: in memory
bool numerics_is_named(const struct numerics *numerics);    // opened with numerics_open_file
uint32_t numerics_count(const struct numerics *numerics);   // answers, including those that later ones replaced
// The last answer to the question; NULL: none.
const struct numerics_answer *numerics_find(const struct numerics *numerics, const char *machine, const char *question);
// Adds a copy, also to the file. `refused` is the answer that the caller found and cannot use; NULL: it found none. If another process
// has answered the question since then, its answer is used. *ret_answer is the answer that numerics_find returns from now on. False if a
// named file cannot be written; a cache file that cannot be written gives one warning.
bool numerics_add(struct numerics *numerics, const struct numerics_answer *answer,
		  const struct numerics_answer *refused, const struct numerics_answer **ret_answer,
		  struct error *error);

// The fastest of `count`; the first one wins a tie of 2 %. `count`: none can be used.
uint32_t numerics_fastest(uint32_t count, const uint64_t *ns);
bool numerics_is_text(const char *text); // printable ASCII without white space, shorter than NUMERICS_TEXT_SIZE
