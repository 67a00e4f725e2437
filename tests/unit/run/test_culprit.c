// Whatever order the signs of trouble come in, the job's error names where it began.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/run/culprit.h"

static const char *const addresses[] = {"node-a:1", "node-b:2", "node-c:3", "node-d:4", "node-e:5", "node-f:6"};

// Three stages, one replica: rank s is stage s.
static struct culprit line(void)
{
	static const struct plan plan = {.options = {.pipeline_size = 3, .data_parallel_size = 1}};
	return (struct culprit){.plan = &plan, .addresses = addresses};
}

// Two stages, three replicas: rank 3 s + r is stage s of replica r.
static struct culprit grid(void)
{
	static const struct plan plan = {.options = {.pipeline_size = 2, .data_parallel_size = 3}};
	return (struct culprit){.plan = &plan, .addresses = addresses};
}

static void stream_over(struct culprit *culprit, uint32_t rank, enum error_code code, const char *why)
{
	struct stage_event event = {.rank = rank};
	error_set(&event.error, code, "%s", why);
	culprit_accuse(culprit, &event);
}

static void say(struct culprit *culprit, uint32_t rank, const struct failure *failed)
{
	struct wire_response response = {.kind = RESPONSE_FAILED, .failed = *failed};
	culprit_accuse(culprit, &(struct stage_event){.rank = rank, .response = &response});
}

static void failed(struct culprit *culprit, uint32_t rank, enum error_code code, const char *why, uint64_t step,
		   bool lost_peer, uint32_t peer_stage)
{
	struct failure message = {0};
	message.code = code;
	message.message = why;
	message.step = step;
	message.lost_peer = lost_peer;
	message.peer_stage = peer_stage;
	say(culprit, rank, &message);
}

static void lost(struct culprit *culprit, uint32_t rank, uint32_t peer_stage, uint32_t peer_replica)
{
	struct failure message = {0};
	message.code = ERROR_UNREACHABLE;
	message.message = "its link broke";
	message.step = 7;
	message.lost_peer = true;
	message.peer_stage = peer_stage;
	message.peer_replica = peer_replica;
	say(culprit, rank, &message);
}

static struct error explain(const struct culprit *culprit, enum job_phase phase)
{
	struct error error;
	culprit_explain(culprit, phase, 7, &error);
	return error;
}

static void accuse_killed_daemon_between_two_that_complain_is_named(void **state)
{
	struct culprit culprit = line();
	failed(&culprit, 0, ERROR_UNREACHABLE, "the next stage is gone", 8, true, 1);
	stream_over(&culprit, 0, ERROR_UNREACHABLE, "ended (UNAVAILABLE)");
	stream_over(&culprit, 1, ERROR_UNREACHABLE, "Socket closed (UNAVAILABLE)");
	failed(&culprit, 2, ERROR_UNREACHABLE, "the previous stage is gone", 7, true, 1);
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message, "stage 1 on node-b:2 was lost at step 7: Socket closed (UNAVAILABLE)");
	assert_int_equal(error.code, ERROR_UNREACHABLE);
}

static void accuse_stage_that_says_what_failed_outweighs_all_others(void **state)
{
	struct culprit culprit = line();
	failed(&culprit, 0, ERROR_UNREACHABLE, "the next stage is gone", 8, true, 1);
	stream_over(&culprit, 2, ERROR_UNREACHABLE, "Socket closed");
	failed(&culprit, 1, ERROR_FAILED, "backward of micro-batch 3: no", 8, false, 0);
	failed(&culprit, 0, ERROR_FAILED, "too late", 8, false, 0);
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message, "stage 1 on node-b:2, step 8: backward of micro-batch 3: no");
	assert_int_equal(error.code, ERROR_FAILED);
}

static void accuse_lost_peer_alone_names_both_ends(void **state)
{
	struct culprit culprit = line();
	failed(&culprit, 2, ERROR_UNREACHABLE, "link to the previous stage: reset", 9, true, 1);
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message,
			    "stage 2 on node-c:3, step 9: stage 1 on node-b:2: link to the previous stage: reset");
}

static void accuse_daemon_that_is_not_there_cannot_be_reached(void **state)
{
	struct culprit culprit = line();
	stream_over(&culprit, 2, ERROR_UNREACHABLE, "Connection refused");
	assert_string_equal(explain(&culprit, JOB_OPENING).message,
			    "stage 2 on node-c:3 cannot be reached: Connection refused");
	assert_string_equal(explain(&culprit, JOB_PREPARING).message,
			    "stage 2 on node-c:3 was lost before the first step: Connection refused");
}

// Killed while it times kernels or allocates memory, say.
static void accuse_daemon_that_had_answered_was_lost_and_is_not_out_of_reach(void **state)
{
	struct culprit culprit = line();
	struct stage_event event = {.rank = 1, .was_heard = true};
	error_set(&event.error, ERROR_UNREACHABLE, "Socket closed");
	culprit_accuse(&culprit, &event);
	assert_string_equal(explain(&culprit, JOB_OPENING).message,
			    "stage 1 on node-b:2 was lost before the first step: Socket closed");
	assert_string_equal(explain(&culprit, JOB_RUNNING).message,
			    "stage 1 on node-b:2 was lost at step 7: Socket closed");
	stream_over(&culprit, 0, ERROR_UNREACHABLE, "connection refused"); // too late to be the cause
	assert_string_equal(explain(&culprit, JOB_OPENING).message,
			    "stage 1 on node-b:2 was lost before the first step: Socket closed");
}

static void accuse_all_daemons_that_are_not_there_are_named(void **state)
{
	struct culprit culprit = grid();
	stream_over(&culprit, 4, ERROR_UNREACHABLE, "connection refused: is it running?");
	stream_over(&culprit, 1, ERROR_UNREACHABLE, "the host name is not known: does DNS have it?");
	stream_over(&culprit, 2, ERROR_UNREACHABLE, "connection refused: is it running?");
	assert_int_equal(culprit.ended, 3);
	struct error error = explain(&culprit, JOB_OPENING);
	assert_string_equal(error.message,
			    "3 nodes cannot be reached: node-e:5 (connection refused), node-b:2 (the host name is not "
			    "known), node-c:3 (connection refused): is it running?; does DNS have it?");
	assert_int_equal(error.code, ERROR_UNREACHABLE);
	assert_string_equal(
		explain(&culprit, JOB_PREPARING).message, // which is another matter
		"stage 1 of replica 1 on node-e:5 was lost before the first step: connection refused: is it "
		"running?");
}

static void unreachable_many_are_counted_and_slots_of_one_node_are_one(void **state)
{
	static char names[UNREACHABLE_NAMED + 3][16];
	struct unreachable nodes = {0};
	struct error error;
	for (uint32_t i = 0; i < UNREACHABLE_NAMED + 3; i++) {
		snprintf(names[i], sizeof(names[i]), "n%u:7070", i);
		unreachable_add(&nodes, names[i], "connection refused: is it running?");
		if (i < UNREACHABLE_NAMED)
			unreachable_add(&nodes, names[i], "connection refused: is it running?");
	}
	unreachable_explain(&nodes, &error);
	assert_non_null(strstr(error.message, "11 nodes cannot be reached: n0:7070 (connection refused), n1:7070"));
	assert_non_null(strstr(error.message, "n7:7070 (connection refused) and 3 more: is it running?"));
}

static void accuse_daemon_that_talks_nonsense_is_not_called_lost(void **state)
{
	struct culprit culprit = line();
	stream_over(&culprit, 1, ERROR_PROTOCOL, "not a SessionResponse");
	stream_over(&culprit, 1, ERROR_UNREACHABLE, "CANCELLED"); // our own doing
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message, "stage 1 on node-b:2, step 7: not a SessionResponse");
	assert_int_equal(error.code, ERROR_PROTOCOL);
}

static void accuse_code_and_peer_that_there_are_not_are_survived(void **state)
{
	struct culprit culprit = line();
	failed(&culprit, 0, (enum error_code)4711, "odd", 1, true, 4000000000u);
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_int_equal(error.code, ERROR_FAILED);
	assert_string_equal(error.message, "stage 0 on node-a:1, step 1: odd");
}

static void accuse_replica_killed_in_a_ring_is_named(void **state)
{
	struct culprit culprit = grid();
	lost(&culprit, 2, 0, 1); // its neighbours in the ring
	lost(&culprit, 0, 0, 1);
	lost(&culprit, 3, 0, 0); // and theirs in the pipelines
	lost(&culprit, 5, 0, 2);
	stream_over(&culprit, 0, ERROR_UNREACHABLE, "ended");
	stream_over(&culprit, 2, ERROR_UNREACHABLE, "ended");
	stream_over(&culprit, 1, ERROR_UNREACHABLE, "Socket closed");
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message, "stage 0 of replica 1 on node-b:2 was lost at step 7: Socket closed");
	assert_int_equal(error.code, ERROR_UNREACHABLE);
}

static void accuse_replica_that_failed_outweighs_its_ring(void **state)
{
	struct culprit culprit = grid();
	lost(&culprit, 3, 1, 1);
	stream_over(&culprit, 5, ERROR_UNREACHABLE, "Socket closed");
	failed(&culprit, 4, ERROR_FAILED, "backward of micro-batch 3: no", 8, false, 0);
	assert_string_equal(explain(&culprit, JOB_RUNNING).message,
			    "stage 1 of replica 1 on node-e:5, step 8: backward of micro-batch 3: no");
}

// Replica 1 of stage 0 is cut off from the others, though not from us. It is the one whom somebody lost and who lost nobody,
// whether the complaints come as the loss spreads, or the other way round.
static void accuse_silent_peer_at_the_end_of_the_chain_is_named(void **state)
{
	static const struct {
		uint32_t rank, peer_stage, peer_replica;
	} complaints[] = {{0, 0, 1}, {3, 0, 0}, {5, 1, 0}, {4, 1, 2}};
	static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 1, 3, 0}, {0, 3, 2, 1}};
	for (size_t o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
		struct culprit culprit = grid();
		for (int i = 0; i < 4; i++) {
			int k = orders[o][i];
			lost(&culprit, complaints[k].rank, complaints[k].peer_stage, complaints[k].peer_replica);
		}
		assert_string_equal(explain(&culprit, JOB_RUNNING).message,
				    "stage 0 of replica 0 on node-a:1, step 7: stage 0 of replica 1 on node-b:2: its "
				    "link broke");
	}
}

static void accuse_two_that_complain_of_each_other_the_first_is_heard(void **state)
{
	struct culprit culprit = grid();
	lost(&culprit, 1, 0, 2);
	lost(&culprit, 2, 0, 1);
	assert_string_equal(
		explain(&culprit, JOB_RUNNING).message,
		"stage 0 of replica 1 on node-b:2, step 7: stage 0 of replica 2 on node-c:3: its link broke");
}

static void accuse_replica_that_there_is_not_is_survived(void **state)
{
	struct culprit culprit = grid();
	lost(&culprit, 1, 1, 3);
	lost(&culprit, 2, 2, 0);
	assert_string_equal(explain(&culprit, JOB_RUNNING).message,
			    "stage 0 of replica 1 on node-b:2, step 7: its link broke");
}

static void explain_names_the_replica_before_the_first_step(void **state)
{
	struct culprit culprit = grid();
	stream_over(&culprit, 5, ERROR_UNREACHABLE, "Connection refused");
	assert_string_equal(explain(&culprit, JOB_OPENING).message,
			    "stage 1 of replica 2 on node-f:6 cannot be reached: Connection refused");
	assert_string_equal(explain(&culprit, JOB_SAVING).message,
			    "stage 1 of replica 2 on node-f:6 was lost while its parameters were saved: Connection "
			    "refused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accuse_killed_daemon_between_two_that_complain_is_named),
		cmocka_unit_test(accuse_stage_that_says_what_failed_outweighs_all_others),
		cmocka_unit_test(accuse_lost_peer_alone_names_both_ends),
		cmocka_unit_test(accuse_daemon_that_is_not_there_cannot_be_reached),
		cmocka_unit_test(accuse_daemon_that_had_answered_was_lost_and_is_not_out_of_reach),
		cmocka_unit_test(accuse_all_daemons_that_are_not_there_are_named),
		cmocka_unit_test(unreachable_many_are_counted_and_slots_of_one_node_are_one),
		cmocka_unit_test(accuse_daemon_that_talks_nonsense_is_not_called_lost),
		cmocka_unit_test(accuse_code_and_peer_that_there_are_not_are_survived),
		cmocka_unit_test(accuse_replica_killed_in_a_ring_is_named),
		cmocka_unit_test(accuse_replica_that_failed_outweighs_its_ring),
		cmocka_unit_test(accuse_silent_peer_at_the_end_of_the_chain_is_named),
		cmocka_unit_test(accuse_two_that_complain_of_each_other_the_first_is_heard),
		cmocka_unit_test(accuse_replica_that_there_is_not_is_survived),
		cmocka_unit_test(explain_names_the_replica_before_the_first_step),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
