// Whatever order the signs of trouble come in, the job's error names where it began.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "coordinator/run/culprit.h"

static const char *const addresses[] = {"node-a:1", "node-b:2", "node-c:3"};

static void stream_over(struct culprit *culprit, uint32_t stage, enum error_code code, const char *why)
{
	struct stage_event event = {.stage = stage};
	error_set(&event.error, code, "%s", why);
	culprit_accuse(culprit, &event);
}

static void failed(struct culprit *culprit, uint32_t stage, enum error_code code, const char *why, uint64_t step,
		   bool lost_peer, uint32_t peer_stage)
{
	Penstock__V1__Failed message = PENSTOCK__V1__FAILED__INIT;
	Penstock__V1__SessionResponse response = PENSTOCK__V1__SESSION_RESPONSE__INIT;
	message.code = code;
	message.message = (char *)why;
	message.step = step;
	message.lost_peer = lost_peer;
	message.peer_stage = peer_stage;
	response.body_case = PENSTOCK__V1__SESSION_RESPONSE__BODY_FAILED;
	response.failed = &message;
	culprit_accuse(culprit, &(struct stage_event){.stage = stage, .response = &response});
}

static struct error explain(const struct culprit *culprit, enum job_phase phase)
{
	struct error error;
	culprit_explain(culprit, addresses, 3, phase, 7, &error);
	return error;
}

static void accuse_killed_daemon_between_two_that_complain_is_named(void **state)
{
	struct culprit culprit = {0};
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
	struct culprit culprit = {0};
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
	struct culprit culprit = {0};
	failed(&culprit, 2, ERROR_UNREACHABLE, "link to the previous stage: reset", 9, true, 1);
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message,
			    "stage 2 on node-c:3, step 9: stage 1 on node-b:2: link to the previous stage: reset");
}

static void accuse_daemon_that_is_not_there_cannot_be_reached(void **state)
{
	struct culprit culprit = {0};
	stream_over(&culprit, 2, ERROR_UNREACHABLE, "Connection refused");
	assert_string_equal(explain(&culprit, JOB_OPENING).message,
			    "stage 2 on node-c:3 cannot be reached: Connection refused");
	assert_string_equal(explain(&culprit, JOB_PREPARING).message,
			    "stage 2 on node-c:3 was lost before the first step: Connection refused");
}

static void accuse_daemon_that_talks_nonsense_is_not_called_lost(void **state)
{
	struct culprit culprit = {0};
	stream_over(&culprit, 1, ERROR_PROTOCOL, "not a SessionResponse");
	stream_over(&culprit, 1, ERROR_UNREACHABLE, "CANCELLED"); // our own doing
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_string_equal(error.message, "stage 1 on node-b:2, step 7: not a SessionResponse");
	assert_int_equal(error.code, ERROR_PROTOCOL);
}

static void accuse_code_and_peer_that_there_are_not_are_survived(void **state)
{
	struct culprit culprit = {0};
	failed(&culprit, 0, (enum error_code)4711, "odd", 1, true, 4000000000u);
	struct error error = explain(&culprit, JOB_RUNNING);
	assert_int_equal(error.code, ERROR_FAILED);
	assert_string_equal(error.message, "stage 0 on node-a:1, step 1: odd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accuse_killed_daemon_between_two_that_complain_is_named),
		cmocka_unit_test(accuse_stage_that_says_what_failed_outweighs_all_others),
		cmocka_unit_test(accuse_lost_peer_alone_names_both_ends),
		cmocka_unit_test(accuse_daemon_that_is_not_there_cannot_be_reached),
		cmocka_unit_test(accuse_daemon_that_talks_nonsense_is_not_called_lost),
		cmocka_unit_test(accuse_code_and_peer_that_there_are_not_are_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
