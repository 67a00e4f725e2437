// A small network on the CUDA device, for tests of what is that device's own: a job and its steps, on the stand-in for CUDA.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stage_server/device/cuda/cuda.h"
#include "tests/unit/device/harness.h"

enum { N = 4, SLOTS = 2, MICRO_BATCHES = 4, RAW = 32, MOST_PARAMETERS = 16 };

// What a completion was called with.
struct calls {
	atomic_int good, bad;
};

struct job {
	struct harness *harness;
	bool has_own_harness;
	struct model model;
	struct program_spec spec;
	struct program *program;
	struct calls calls;
	int issued; // operations with a completion that returned true
	uint8_t images[N * 3 * RAW * RAW], labels[N];
	float output[N * 10];
	float *gradients[MOST_PARAMETERS]; // pinned, of each parameter; with replicas
};

void job_count_call(void *user, bool ok); // of a completion whose user is a struct calls

// In a harness of its own if there is none yet. Jobs that are to agree to the bit share one, and so the file of choices.
struct job *job_open(struct harness *harness, enum data_type type, uint32_t checkpoint_interval);
// The same with a program that is one of replicas.
struct job *job_open_replica(struct harness *harness, enum data_type type, uint32_t checkpoint_interval);
void job_close(struct job *job);
void job_allocate_gradients(struct job *job);
void job_free_gradients(struct job *job);

// Two micro-batches go forward, then both go backward: the second is not the one whose activations are still there.
bool job_step(struct job *job, struct error *error);
// Parts of a step. issued: counts an operation with a completion, where it is one.
bool job_issued(struct job *job, bool ok);
bool job_forward(struct job *job, uint32_t number, struct error *error);
bool job_read_gradients(struct job *job, uint32_t layer, struct error *error);
void job_wait_for_calls(struct job *job);

// As in a new process. Nothing may be left of a program.
void forget_what_is_loaded(void);
