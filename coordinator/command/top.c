// penstock top: what running jobs do, live, from any terminal. The daemons are asked every few seconds, and what they have counted
// since is shown: on a terminal in its place, else page after page.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/nodes_arguments.h"
#include "coordinator/daemons/poll.h"
#include "coordinator/report/terminal.h"
#include "coordinator/view/page.h"
#include "coordinator/view/screen.h"
#include "coordinator/view/text.h"

// Of a round. What a node answers late is of no use to a live view.
enum { DEADLINE_MS = 2000, NETWORK_THREADS = 1, KEY_MS = 50, COMPLAINTS = 5 };

static const char introduction[] = "Usage: penstock top -H HOSTFILE [OPTION]...\n"
				   "       penstock top HOST[:PORT]... [OPTION]...\n"
				   "Shows the stages of running jobs, live. q quits; arrows and page keys scroll.\n"
				   "\n";
static const char conclusion[] = "\n"
				 "If the output is not a terminal, or TERM is unset or dumb, pages are printed one\n"
				 "after another, each for the interval before it. Exit code 4: no daemon can be\n"
				 "reached.\n";

struct top {
	const struct nodes_arguments *arguments;
	struct poll *poll;
	struct rates *rates;
	bool has_screen;
	bool quit;
};

// ---- A page

static uint32_t count_answers(const struct top *top)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < poll_count(top->poll); i++)
		count += poll_node(top->poll, i)->answer != NULL;
	return count;
}

static void write_heading(const struct top *top, char *into, size_t size)
{
	char now[16];
	time_t seconds = time(NULL);
	uint32_t nodes = poll_count(top->poll), silent = nodes - count_answers(top);
	strftime(now, sizeof(now), "%H:%M:%S", localtime(&seconds));
	snprintf(into, size, "penstock top  %s  %u node%s, %u without an answer, every %g s%s", now, nodes,
		 nodes == 1 ? "" : "s", silent, top->arguments->interval_s, top->has_screen ? "  (q quits)" : "");
}

// Returns owned, NULL when memory is out.
static char *write_complaints(const struct top *top)
{
	char *text = NULL;
	size_t size = 0;
	uint32_t found = 0;
	FILE *out = open_memstream(&text, &size);
	if (out == NULL)
		return NULL;
	for (uint32_t i = 0; i < poll_count(top->poll); i++) {
		char printable[ERROR_MESSAGE_SIZE];
		struct error error;
		if (poll_node(top->poll, i)->answer == NULL && found++ < COMPLAINTS)
			fprintf(out, "%s\n",
				strings_printable(poll_complaint(poll_node(top->poll, i), &error), printable,
						  sizeof(printable)));
	}
	if (found > COMPLAINTS)
		fprintf(out, "and %u more\n", found - COMPLAINTS);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static bool make_page(const struct top *top, struct page *ret_page)
{
	char heading[160];
	_cleanup_free_ char *complaints = write_complaints(top);
	write_heading(top, heading, sizeof(heading));
	struct page_options options = {.job = top->arguments->job,
				       .heading = heading,
				       .complaints = complaints,
				       .columns = top->has_screen ? screen_columns() : 0};
	return complaints != NULL && page_init(top->rates, &options, ret_page);
}

static bool show_page(const struct top *top, bool first, struct error *error)
{
	struct page page;
	if (!make_page(top, &page))
		return error_set(error, ERROR_FAILED, "out of memory");
	if (top->has_screen)
		screen_show(&page);
	else
		printf("%s%s", first ? "" : "\n", page.text);
	page_fini(&page);
	return top->has_screen || file_flush_output(error);
}

// ---- Rounds

// Keys are read meanwhile. False when somebody wants the end.
static bool wait_ms(struct top *top, uint32_t ms)
{
	if (!top->has_screen)
		nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
	else if (screen_wait(ms) == SCREEN_QUIT)
		top->quit = true;
	return !top->quit && !command_is_interrupted();
}

static bool wait_until_ns(struct top *top, uint64_t ns)
{
	bool go_on = !command_is_interrupted();
	for (uint64_t now = clock_now_ns(); go_on && now < ns; now = clock_now_ns())
		go_on = wait_ms(top,
				ns - now < KEY_MS * UINT64_C(1000000) ? (uint32_t)((ns - now) / 1000000 + 1) : KEY_MS);
	return go_on;
}

// False when memory is out, or somebody wants the end.
static bool ask(struct top *top, struct error *error)
{
	poll_begin(top->poll, DEADLINE_MS);
	while (!poll_is_over(top->poll))
		if (!wait_ms(top, top->has_screen ? KEY_MS : 1))
			return false;
	poll_end(top->poll);
	for (uint32_t i = 0; i < poll_count(top->poll); i++) {
		const struct poll_node *node = poll_node(top->poll, i);
		if (!rates_update(top->rates, i, node->host->address, node->answer))
			return error_set(error, ERROR_FAILED, "out of memory");
	}
	return true;
}

// The last of the nodes speaks for all, after the others have been named.
static bool complain_of_all(const struct top *top, struct error *error)
{
	uint32_t last = poll_count(top->poll) - 1;
	for (uint32_t i = 0; i < last; i++) {
		poll_complaint(poll_node(top->poll, i), error);
		command_fail(error);
	}
	poll_complaint(poll_node(top->poll, last), error);
	return false;
}

// The first round is only what the next one is held against: a plain page shows an interval, the screen shows at once what is known.
static bool watch(struct top *top, struct error *error)
{
	uint64_t pages = 0, interval_ns = (uint64_t)(top->arguments->interval_s * 1e9);
	uint64_t due_ns = clock_now_ns() + interval_ns;
	if (!ask(top, error))
		return error->code == ERROR_NONE;
	if (count_answers(top) == 0)
		return complain_of_all(top, error);
	bool wants_screen = top->arguments->iterations == 0 && terminal_obeys(STDOUT_FILENO) && isatty(STDIN_FILENO);
	if (wants_screen && !screen_start(error))
		return false;
	top->has_screen = wants_screen;
	if (top->has_screen && !show_page(top, true, error))
		return false;
	while (wait_until_ns(top, due_ns)) {
		due_ns += interval_ns;
		if (due_ns < clock_now_ns()) // a node made the round longer than that
			due_ns = clock_now_ns() + interval_ns;
		if (!ask(top, error))
			return error->code == ERROR_NONE;
		if (!show_page(top, pages == 0, error))
			return false;
		if (++pages == top->arguments->iterations)
			break;
	}
	return true;
}

static bool run(const struct nodes_arguments *arguments, struct error *error)
{
	struct top top = {.arguments = arguments, .rates = rates_create(arguments->hosts.count)};
	bool ok = (top.rates != NULL || error_set(error, ERROR_FAILED, "out of memory")) &&
		  poll_create(&arguments->hosts, arguments->tls, &top.poll, error) && watch(&top, error);
	screen_stop();
	poll_destroy(top.poll);
	rates_destroy(top.rates);
	return ok;
}

int command_top(int argc, char **argv)
{
	struct nodes_arguments arguments;
	struct error error = {.code = ERROR_NONE};
	int code;
	if (!command_goes_on(
		    nodes_arguments_parse(NODES_COMMAND_TOP, argc, argv, introduction, conclusion, &arguments, &error),
		    &error, &code))
		return code;
	text_use_utf8();
	command_catch_signals();
	bool ok = rpc_start(NETWORK_THREADS, &error);
	if (ok) {
		ok = run(&arguments, &error);
		rpc_stop();
	}
	nodes_arguments_fini(&arguments);
	return ok ? 0 : command_fail(&error);
}
