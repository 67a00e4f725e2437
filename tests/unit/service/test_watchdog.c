// The rule of the watchdog: a ping is due at half of systemd's time, and is sent only for a daemon whose queue and network go on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stage_server/service/watchdog.h"

static const uint64_t second = 1000000000;
enum { TIMEOUT_US = 30000000 }; // half of it: 15 s

static void is_due_at_half_of_the_timeout_and_once(void **state)
{
	struct watchdog watchdog;
	watchdog_init(&watchdog, TIMEOUT_US, 100 * second);
	assert_false(watchdog_is_due(&watchdog, 100 * second));
	assert_false(watchdog_is_due(&watchdog, 115 * second - 1));
	assert_true(watchdog_is_due(&watchdog, 115 * second));
	assert_false(watchdog_is_due(&watchdog, 116 * second)); // the event is under way
	assert_true(watchdog_answer(&watchdog, 0, 117 * second));
	assert_false(watchdog_is_due(&watchdog, 118 * second));
	assert_true(watchdog_is_due(&watchdog, 132 * second));
}

static void queue_that_is_not_drained_withholds_the_ping(void **state)
{
	struct watchdog watchdog;
	watchdog_init(&watchdog, TIMEOUT_US, 0);
	assert_true(watchdog_is_due(&watchdog, 15 * second));
	for (uint64_t now = 16; now < 100;
	     now++) // the loop turns, and the event is not handled: nothing more is posted
		assert_false(watchdog_is_due(&watchdog, now * second));
	assert_true(watchdog_answer(&watchdog, 0, 100 * second)); // it goes on
}

static void stuck_network_thread_withholds_the_ping_until_it_returns(void **state)
{
	struct watchdog watchdog;
	watchdog_init(&watchdog, TIMEOUT_US, 0);
	assert_true(watchdog_is_due(&watchdog, 15 * second));
	assert_false(watchdog_answer(&watchdog, 15 * second, 15 * second));
	assert_true(watchdog_is_due(&watchdog, 16 * second)); // asked again at the next look
	assert_false(watchdog_answer(&watchdog, 16 * second, 16 * second));
	assert_true(watchdog_is_due(&watchdog, 17 * second));
	assert_true(watchdog_answer(&watchdog, second, 17 * second)); // a callback of a second is no hang
}

static void without_a_timeout_nothing_is_due(void **state)
{
	struct watchdog watchdog;
	watchdog_init(&watchdog, 0, 0);
	assert_false(watchdog_is_due(&watchdog, 1000 * second));
	watchdog = (struct watchdog){0};
	assert_false(watchdog_is_due(&watchdog, 1000 * second));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_due_at_half_of_the_timeout_and_once),
		cmocka_unit_test(queue_that_is_not_drained_withholds_the_ping),
		cmocka_unit_test(stuck_network_thread_withholds_the_ping_until_it_returns),
		cmocka_unit_test(without_a_timeout_nothing_is_due),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
