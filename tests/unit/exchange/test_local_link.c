// Two stages of one daemon: a tensor's buffer is handed over, not copied, and comes back to its pool.
#include "tests/unit/cmocka_all.h"

#include <pthread.h>

#include "stage_server/exchange/link.h"

enum { DEPTH = 2 };

struct side {
	struct link *link;
	int ready, lost, over;
	bool lost_in_good_order;
};

static struct side *side_of(void *user)
{
	return user;
}

static void on_ready(struct link *link, void *user)
{
	side_of(user)->ready++;
}

static void on_lost(struct link *link, const struct error *error, void *user)
{
	side_of(user)->lost++;
	side_of(user)->lost_in_good_order = error == NULL;
}

static void on_over(struct link *link, void *user)
{
	side_of(user)->over++;
}

struct fixture {
	struct metrics *metrics;
	struct side up, down;
};

static void make_side(struct fixture *fixture, struct side *side, bool gradient, uint32_t features, bool local)
{
	static const struct link_events events = {.ready = on_ready, .lost = on_lost, .over = on_over};
	static const struct metric_family family = {"bytes", "Bytes.", METRIC_COUNTER, 1.0};
	static const uint32_t order[] = {0};
	struct metric *metric = metrics_series(fixture->metrics, &family, gradient ? "up" : "down");
	struct link_options options = {
		.local = local,
		.incoming = {.shape = {.rank = 2, .dimensions = {2, features}, .bytes = 8 * features},
			     .kind = gradient ? TENSOR_GRADIENT : TENSOR_ACTIVATION,
			     .depth = 1,
			     .connections = 1,
			     .chunk_bytes = 4096,
			     .tensors_per_step = 1,
			     .order = order,
			     .memory = &buffer_library_memory},
		.outgoing = gradient ? TENSOR_ACTIVATION : TENSOR_GRADIENT,
		.send_depth = DEPTH,
		.memory = &buffer_library_memory,
		.counters = {metric, metric, metric, metric},
		.events = &events,
		.user = side,
	};
	struct error error;
	*side = (struct side){0};
	if (!link_create(&options, &side->link, &error))
		fail_msg("%s", error.message);
}

static struct fixture make(void)
{
	struct fixture fixture = {.metrics = metrics_create()};
	return fixture;
}

static void join(struct fixture *fixture)
{
	struct error error;
	make_side(fixture, &fixture->up, true, 6, true);
	make_side(fixture, &fixture->down, false, 6, true);
	if (!link_join(fixture->up.link, fixture->down.link, &error))
		fail_msg("%s", error.message);
	assert_int_equal(fixture->up.ready, 1);
	assert_int_equal(fixture->down.ready, 1);
}

static void end(struct fixture *fixture)
{
	link_close(fixture->up.link, true);
	link_close(fixture->down.link, true);
	link_close(fixture->down.link, false);
	assert_int_equal(fixture->up.over, 1);
	assert_int_equal(fixture->down.over, 1);
	link_unref(fixture->up.link);
	link_unref(fixture->down.link);
	metrics_destroy(fixture->metrics);
}

static void link_send_local_hands_over_the_buffer_itself(void **state)
{
	struct fixture fixture = make();
	join(&fixture);
	for (uint64_t step = 0; step < 5; step++) {
		struct buffer *out = link_take_buffer(fixture.up.link), *back = link_take_buffer(fixture.down.link);
		const void *values = NULL;
		link_send(fixture.up.link, step, 0, out);
		link_send(fixture.down.link, step, 0, back);
		assert_int_equal(link_receive(fixture.down.link, &values), MAILBOX_OK);
		assert_ptr_equal(values, out->data);
		link_release(fixture.down.link);
		assert_int_equal(link_receive(fixture.up.link, &values), MAILBOX_OK);
		assert_ptr_equal(values, back->data);
		link_release(fixture.up.link);
	}
	end(&fixture);
}

static void *take(void *link)
{
	return link_take_buffer(link);
}

static void link_take_buffer_local_waits_for_a_release(void **state)
{
	struct fixture fixture = make();
	join(&fixture);
	const void *values[DEPTH];
	for (int i = 0; i < DEPTH; i++)
		link_send(fixture.up.link, 0, (uint32_t)i, link_take_buffer(fixture.up.link));
	for (int i = 0; i < DEPTH; i++) // both are given out before the first is released
		assert_int_equal(link_receive(fixture.down.link, &values[i]), MAILBOX_OK);
	assert_ptr_not_equal(values[0], values[1]);
	pthread_t thread;
	void *taken;
	assert_int_equal(pthread_create(&thread, NULL, take, fixture.up.link), 0);
	link_release(fixture.down.link);
	pthread_join(thread, &taken);
	assert_ptr_equal(((struct buffer *)taken)->data, values[0]);
	buffer_unref(taken);
	link_release(fixture.down.link);
	end(&fixture);
}

static void *receive(void *link)
{
	const void *values;
	return (void *)(intptr_t)link_receive(link, &values);
}

static void link_close_local_leaves_the_neighbour_what_was_sent(void **state)
{
	struct fixture fixture = make();
	const void *values;
	join(&fixture);
	link_send(fixture.up.link, 0, 0, link_take_buffer(fixture.up.link));
	link_close(fixture.up.link, false);
	assert_int_equal(fixture.down.lost, 1);
	assert_false(fixture.down.lost_in_good_order);
	assert_int_equal(link_receive(fixture.down.link, &values), MAILBOX_OK);
	link_release(fixture.down.link);
	assert_int_equal(link_receive(fixture.down.link, &values), MAILBOX_LOST);
	assert_null(link_take_buffer(fixture.down.link));
	assert_int_equal(fixture.up.lost, 0); // it closed first
	end(&fixture);
}

static void link_wake_ends_the_waits_and_reports_nothing(void **state)
{
	struct fixture fixture = make();
	join(&fixture);
	pthread_t thread;
	void *status = NULL;
	assert_int_equal(pthread_create(&thread, NULL, receive, fixture.up.link), 0);
	link_wake(fixture.up.link);
	pthread_join(thread, &status);
	assert_int_equal((intptr_t)status, MAILBOX_CLOSED);
	assert_null(link_take_buffer(fixture.up.link));
	assert_int_equal(fixture.up.lost + fixture.down.lost + fixture.up.over + fixture.down.over, 0);
	struct buffer *out = link_take_buffer(fixture.down.link); // the neighbour's own way is as before
	assert_non_null(out);
	link_send(fixture.down.link, 0, 0, out);
	end(&fixture);
}

// Which of the two is first, receiver or close, is not fixed: either way it returns.
static void link_close_local_ends_a_wait_on_both_sides(void **state)
{
	for (int closes_itself = 0; closes_itself < 2; closes_itself++) {
		struct fixture fixture = make();
		pthread_t thread;
		void *status;
		join(&fixture);
		assert_int_equal(pthread_create(&thread, NULL, receive, fixture.down.link), 0);
		link_close(closes_itself ? fixture.down.link : fixture.up.link, true);
		pthread_join(thread, &status);
		assert_int_equal((intptr_t)status, closes_itself ? MAILBOX_CLOSED : MAILBOX_LOST);
		end(&fixture);
	}
}

static void link_join_what_does_not_fit_is_refused(void **state)
{
	struct fixture fixture = make();
	struct error error;
	struct side other;
	join(&fixture);
	make_side(&fixture, &other, false, 6, true);
	assert_false(link_join(fixture.up.link, other.link, &error)); // joined already
	assert_int_equal(error.code, ERROR_PROTOCOL);
	struct side narrow;
	make_side(&fixture, &narrow, true, 5, true);
	assert_false(link_join(narrow.link, other.link, &error)); // other shapes
	struct side remote;
	make_side(&fixture, &remote, true, 6, false);
	assert_false(link_join(remote.link, other.link, &error)); // not local
	assert_false(link_dial(other.link, "127.0.0.1:1", NULL, (const uint8_t *)"0123456789abcdef", &error));
	link_close(other.link, false);
	link_close(narrow.link, false);
	link_close(remote.link, false);
	link_unref(other.link);
	link_unref(narrow.link);
	link_unref(remote.link);
	end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_send_local_hands_over_the_buffer_itself),
		cmocka_unit_test(link_take_buffer_local_waits_for_a_release),
		cmocka_unit_test(link_wake_ends_the_waits_and_reports_nothing),
		cmocka_unit_test(link_close_local_leaves_the_neighbour_what_was_sent),
		cmocka_unit_test(link_close_local_ends_a_wait_on_both_sides),
		cmocka_unit_test(link_join_what_does_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
