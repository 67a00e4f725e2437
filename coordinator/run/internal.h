// Shared by the files of a job. job.c (from open to close) calls kernel_choices.c, parameters.c (load and save) and steps.c. These call
// next_event.c, which calls pulse.c (whether to wait) and grid.c (a rank's neighbours). All may call refuse.c.
#pragma once

#include "common/base/lateness.h"
#include "common/rpc/protocol.h"
#include "coordinator/run/culprit.h"
#include "coordinator/run/heartbeat.h"
#include "coordinator/run/job.h"
#include "coordinator/run/progress.h"
#include "coordinator/run/stage_session.h"

enum { JOB_STEPS_AHEAD = 2 }; // queued steps, so that a stage never waits for the next one

// The tokens that a rank's neighbours send when they open their links to it.
struct job_tokens {
	uint8_t link[PROTOCOL_TOKEN_BYTES], replica[PROTOCOL_TOKEN_BYTES];
};

// With reduce_in_group: the id that replica 0 of a stage made, with which its replicas form a group.
struct job_group {
	uint8_t id[PROTOCOL_GROUP_ID_BYTES];
	bool is_known;
};

// What the job waits for at the moment: an answer of each rank.
struct job_wait {
	const char *what;         // "its report"; NULL: nothing
	const bool *has_answered; // [ranks], borrowed until the next job_await
};

struct kernel_choices; // kernel_choices.c

struct job {
	struct job_options options;
	const struct plan *plan;
	uint32_t ranks;
	struct stage_events *events;
	struct stage_session **sessions; // [ranks]
	struct job_tokens *tokens;       // [ranks]
	struct job_group *groups;        // [pipeline size]
	struct kernel_choices *kernels;
	struct heartbeat *heartbeat;
	struct lateness lateness; // of this process
	uint64_t step;            // the first one not done
	enum job_phase phase;
	// Owned: the Failed of a daemon that stopped after a step, which the other ranks have still to report.
	struct stage_event *drained;
	bool has_ended[PLAN_MAXIMUM_RANKS]; // the rank failed, or its call ended: it sends no more reports
	struct progress progress;
	struct job_wait wait;
	struct culprit culprit; // so far
	uint32_t opened;        // ranks that have opened their stages
	uint64_t accused_ns;    // time of the first failure; 0: there was none

	// Saving.
	struct safetensors_writer *writer;
	struct safetensors_entry *entries;
	uint64_t *saved_bytes; // [entry_count] received so far
	uint32_t entry_count;
};

// next_event.c
// Waits for the next event of any rank. NULL with an error when the job is over: a rank failed, was lost, is silent or makes no progress,
// or job_interrupt was called. Returns owned; it has a response.
struct stage_event *job_next_event(struct job *job, struct error *error);

// pulse.c
// From now on the job waits for `what` from the ranks that are not marked in `has_answered`. Error messages and the limit on progress use it.
void job_await(struct job *job, const char *what, const bool *has_answered);
// False with an error if the job was interrupted, a rank is silent or no rank makes progress. For code that waits without job_next_event.
bool job_check_pulse(struct job *job, struct error *error);

// refuse.c
// Marks the rank. False with an error if it has already answered.
bool job_take_answer(const struct job *job, uint32_t rank, bool *has_answered, struct error *error);
// "stage 1 of replica 2 on node-b:7070: why".
bool job_refuse(const struct job *job, uint32_t rank, const char *why, struct error *error);
bool job_unexpected(const struct job *job, const struct stage_event *event, struct error *error);

// grid.c
bool job_open_rank(struct job *job, uint32_t rank, struct error *error);    // creates its session and sends Open
bool job_connect_rank(struct job *job, uint32_t rank, struct error *error); // sends Connect

// kernel_choices.c: the answers to what ranks ask about kernels, from Open to each rank's Opened.
bool kernel_choices_create(struct job *job, struct error *error);
void kernel_choices_destroy(struct kernel_choices *kernels); // takes NULL
// Answers the ranks' questions about kernels until each rank has sent Opened; `take` gets each Opened.
bool kernel_choices_settle(struct job *job,
			   void (*take)(struct job *job, uint32_t rank, const struct wire_response *response),
			   struct error *error);

bool steps_run(struct job *job, struct error *error);               // steps.c
bool parameters_load(struct job *job, struct error *error);         // parameters.c
bool parameters_prepare_save(struct job *job, struct error *error); // before anything runs: is there a place for them?
bool parameters_save(struct job *job, struct error *error);
