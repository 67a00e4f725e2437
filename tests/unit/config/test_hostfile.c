// DeepSpeed's hostfile: good lines, bad lines, and damaged ones.
#include "tests/unit/config/files.h"

#include <sys/stat.h>

#include "coordinator/config/hostfile.h"

static void read_good_lines_gives_addresses_and_slots(void **state)
{
	write_test_file("# the cluster\n"
			"\n"
			"node-a slots=4\n"
			"  node-b:7171\tslots=2   # a comment\r\n"
			"10.0.0.3 slots=1\n"
			"[fe80::1%eth0]:9000 slots=8\n"
			"[::1] slots=64\n"
			"unix:/run/a#1.sock slots=1\n"
			"unix:/run/A#1.sock slots=1\n"
			"node_c.example.org slots=03");
	struct hostfile hosts;
	struct error error = {0};
	if (!hostfile_read(test_path, &hosts, &error))
		fail_msg("%s", error.message);
	static const struct host expected[] = {
		{"node-a:7070", 4},        {"node-b:7171", 2},
		{"10.0.0.3:7070", 1},      {"[fe80::1%eth0]:9000", 8},
		{"[::1]:7070", 64},        {"unix:/run/a#1.sock", 1},
		{"unix:/run/A#1.sock", 1}, {"node_c.example.org:7070", 3},
	};
	assert_int_equal(hosts.count, sizeof(expected) / sizeof(expected[0]));
	for (uint32_t i = 0; i < hosts.count; i++) {
		assert_string_equal(hosts.hosts[i].address, expected[i].address);
		assert_int_equal(hosts.hosts[i].slots, expected[i].slots);
	}
	hostfile_fini(&hosts);
	hostfile_fini(&hosts);
}

static void slot_goes_through_hosts_in_order(void **state)
{
	write_test_file("a slots=2\nb slots=1\nc slots=3\n");
	struct hostfile hosts;
	struct error error = {0};
	assert_true(hostfile_read(test_path, &hosts, &error));
	static const struct {
		const char *address;
		uint32_t slot;
	} expected[] = {{"a:7070", 0}, {"a:7070", 1}, {"b:7070", 0}, {"c:7070", 0}, {"c:7070", 1}, {"c:7070", 2}};
	assert_int_equal(hostfile_slots(&hosts), 6);
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t slot = 77;
		assert_string_equal(hostfile_slot(&hosts, i, &slot)->address, expected[i].address);
		assert_int_equal(slot, expected[i].slot);
	}
	hostfile_fini(&hosts);
}

static void assert_refused(const char *text, const char *expected)
{
	write_test_file(text);
	struct hostfile hosts = {.count = 77};
	struct error error = {0};
	assert_false(hostfile_read(test_path, &hosts, &error));
	assert_int_equal(hosts.count, 77);
	if (strstr(error.message, expected) == NULL || strncmp(error.message, test_path, strlen(test_path)) != 0)
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
	assert_int_equal(error.code, ERROR_USAGE);
	for (const char *c = error.message; *c != '\0'; c++)
		assert_true((unsigned char)*c >= 0x20);
}

static void read_bad_line_is_refused_with_its_number(void **state)
{
	static const struct {
		const char *text, *expected;
	} bad[] = {
		{"", ": has no hosts"},
		{"# nothing\n\n", ": has no hosts"},
		{"a slots=1\nb\n", ":2: \"b\" has no slots"},
		{"a slots=0\n", ":1: slots=0"},
		{"a slots=65\n", "a whole number from 1 to 64"},
		{"a slots=-1\n", ":1: slots=-1"},
		{"a slots=+1\n", ":1: slots=+1"},
		{"a slots=1x\n", ":1: slots=1x"},
		{"a slots=\n", ":1: slots="},
		{"a slots=99999999999999999999\n", "a whole number from 1 to 64"},
		{"a slots = 4\n", ":1: \"a\" has no slots=N, and \"slots\" is unknown"},
		{"a gpus=4\n", ":1: \"a\" has no slots=N, and \"gpus=4\" is unknown: write \"a slots=1\""},
		{"a slot=4\n", "\"slot=4\" is unknown (did you mean slots?)"},
		{"a max_slots=8\n", ":1: \"a\" has no slots=N, and \"max_slots=8\" is unknown: write"},
		{"a slots=4 slots=8\n", ":1: \"slots=8\": the line already has slots=N"},
		{"a slots=4 max_slots=8\na slots=1\n", ":2: a:7070 appears twice"},
		{"a slots=1\n\na slots=2\n", ":3: a:7070 appears twice, first in line 1"},
		{"a slots=1\nA:7070 slots=2\n", ":2: A:7070 appears twice"},
		{"unix:/a slots=1\nunix:/a slots=1\n", ":2: unix:/a appears twice"},
		{"a: slots=1\n", ": the port is not a whole number from 1 to 65535"},
		{"a:0 slots=1\n", ":1: \"a:0\" is not HOST, HOST:PORT, [IPv6]:PORT or unix:/PATH: the port is not"},
		{"a:65536 slots=1\n", ":1: \"a:65536\" is not"},
		{"a:http slots=1\n", ":1: \"a:http\" is not"},
		{"fe80::1 slots=1\n",
		 ":1: \"fe80::1\" is not HOST, HOST:PORT, [IPv6]:PORT or unix:/PATH: it has several "
		 "colons: write an IPv6 address in brackets"},
		{"unix slots=1\n",
		 ":1: \"unix\" is not HOST, HOST:PORT, [IPv6]:PORT or unix:/PATH: this name is also a kind of address"},
		{"a slots=1\nDNS:7071 slots=1\n", ": this name is also a kind of address"},
		{"[] slots=1\n", ":1: \"[]\" is not HOST"},
		{"[::1 slots=1\n", ":1: \"[::1\" is not HOST"},
		{"[::1]x slots=1\n", ":1: \"[::1]x\" is not HOST"},
		{"[::1]: slots=1\n", ": the port is not a whole number"},
		{"unix:run/x slots=1\n", "the path must be absolute"},
		{"user@a slots=1\n", ":1: \"user@a\" is not HOST"},
		{"\xef\xbb\xbf"
		 "a slots=1\n",
		 ":1: begins with a byte-order mark"},
		{"\x1b[2Ja slots=1\n", ":1: \"?[2Ja\" is not HOST"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i].text, bad[i].expected);
}

static void read_other_words_are_ignored_and_named(void **state)
{
	struct hostfile hosts;
	struct error error;
	char text[4096] = "";
	write_test_file("a slots=4 max_slots=8\n# max_slots=9\nb \x1b[2J slots=2\nc slots=1 # max_slots=3\n");
	assert_true(hostfile_read(test_path, &hosts, &error));
	assert_int_equal(hostfile_slots(&hosts), 7);
	assert_string_equal(hosts.ignored, "\"max_slots=8\" in line 1, \"?[2J\" in line 3");
	hostfile_fini(&hosts);
	for (int i = 0; i < 60; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "n%d slots=1 max_slots=8\n", i);
	write_test_file(text);
	assert_true(hostfile_read(test_path, &hosts, &error));
	assert_non_null(strstr(hosts.ignored, "in line 11 and 49 more"));
	hostfile_fini(&hosts);
	write_test_file("a slots=1\n");
	assert_true(hostfile_read(test_path, &hosts, &error));
	assert_string_equal(hosts.ignored, "");
	hostfile_fini(&hosts);
}

static void read_long_or_binary_line_is_refused(void **state)
{
	char text[4096];
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_refused(text, ":1: the line is longer than");
	strcpy(text + 300, " slots=1\n");
	assert_refused(text, "the host name is too long");
	memset(text, 'a', 254);
	strcpy(text + 254, " slots=1\n");
	assert_refused(text, "is longer than 255 characters");
	struct hostfile hosts;
	struct error error = {0};
	write_test_bytes("a\0b slots=1\nb slots=1\n", 22);
	assert_false(hostfile_read(test_path, &hosts, &error));
	assert_non_null(strstr(error.message, ":1: "));
}

static void read_most_hosts_and_one_more(void **state)
{
	for (int count = HOSTFILE_MAXIMUM_HOSTS; count <= HOSTFILE_MAXIMUM_HOSTS + 1; count++) {
		FILE *file = fopen(test_path, "w");
		for (int i = 0; i < count; i++)
			fprintf(file, "node-%d slots=1\n", i);
		fclose(file);
		struct hostfile hosts;
		struct error error = {0};
		bool ok = hostfile_read(test_path, &hosts, &error);
		assert_int_equal(ok, count == HOSTFILE_MAXIMUM_HOSTS);
		if (ok)
			hostfile_fini(&hosts);
		else
			assert_non_null(strstr(error.message, ":1025: more than 1024 hosts"));
	}
}

static void read_missing_file_is_refused(void **state)
{
	struct hostfile hosts;
	struct error error = {0};
	assert_false(hostfile_read("/nonexistent/hostfile", &hosts, &error));
	assert_non_null(strstr(error.message, "/nonexistent/hostfile: No such file"));
	assert_false(hostfile_read(test_folder, &hosts, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "is not a regular file"));
	unlink(test_path);
	assert_int_equal(mkfifo(test_path, 0600), 0);
	assert_false(hostfile_read(test_path, &hosts, &error)); // and nobody waits for its other end
	assert_non_null(strstr(error.message, "is not a regular file"));
	unlink(test_path);
}

static void from_words_reads_each_as_a_line_with_one_slot(void **state)
{
	char *good[] = {"a", "b:1234", "[::1]", "unix:/run/p.sock"}, *twice[] = {"a", "b", "A:7070"},
	     *bad[] = {"a", "b:0"};
	struct hostfile hosts;
	struct error error = {0};
	assert_true(hostfile_from_words(good, 4, &hosts, &error));
	assert_int_equal(hosts.count, 4);
	assert_int_equal(hostfile_slots(&hosts), 4);
	assert_string_equal(hosts.hosts[0].address, "a:7070");
	assert_string_equal(hosts.hosts[1].address, "b:1234");
	assert_string_equal(hosts.hosts[2].address, "[::1]:7070");
	assert_string_equal(hosts.hosts[3].address, "unix:/run/p.sock");
	hostfile_fini(&hosts);
	assert_false(hostfile_from_words(twice, 3, &hosts, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "HOST:3: A:7070 appears twice"));
	assert_false(hostfile_from_words(bad, 2, &hosts, &error));
	assert_non_null(strstr(error.message, "HOST:2: \"b:0\" is not HOST, HOST:PORT"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_good_lines_gives_addresses_and_slots),
		cmocka_unit_test(slot_goes_through_hosts_in_order),
		cmocka_unit_test(read_bad_line_is_refused_with_its_number),
		cmocka_unit_test(read_other_words_are_ignored_and_named),
		cmocka_unit_test(read_long_or_binary_line_is_refused),
		cmocka_unit_test(read_most_hosts_and_one_more),
		cmocka_unit_test(read_missing_file_is_refused),
		cmocka_unit_test(from_words_reads_each_as_a_line_with_one_slot),
	};
	return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
