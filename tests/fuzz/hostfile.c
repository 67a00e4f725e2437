// coordinator/config/hostfile: what is accepted has addresses to call and slots to use, and reads the same when written anew.
#include <string.h>

#include "coordinator/config/hostfile.h"
#include "tests/fuzz/fuzz.h"

static void check_hosts(const struct hostfile *hosts)
{
	uint32_t slots = 0, slot = 0;
	DEMAND(hosts->count >= 1 && hosts->count <= HOSTFILE_MAXIMUM_HOSTS);
	for (uint32_t i = 0; i < hosts->count; i++) {
		const struct host *host = &hosts->hosts[i];
		DEMAND(strlen(host->address) < sizeof(host->address) && host->slots >= 1 && host->slots <= 64);
		DEMAND(strncmp(host->address, "unix:/", 6) == 0 || strrchr(host->address, ':') > host->address);
		DEMAND(hostfile_slot(hosts, slots, &slot) == host && slot == 0);
		slots += host->slots;
		DEMAND(hostfile_slot(hosts, slots - 1, &slot) == host && slot == host->slots - 1);
		for (uint32_t k = 0; k < i && i < 64; k++) // named once
			DEMAND(strcmp(hosts->hosts[k].address, host->address) != 0);
	}
	DEMAND(hostfile_slots(hosts) == slots);
}

static void check_round_trip(const struct hostfile *hosts)
{
	char *text = NULL;
	size_t size = 0;
	struct hostfile again;
	struct error error;
	FILE *out = open_memstream(&text, &size);
	for (uint32_t i = 0; i < hosts->count; i++)
		fprintf(out, "%s slots=%u\n", hosts->hosts[i].address, hosts->hosts[i].slots);
	fclose(out);
	DEMAND(hostfile_read(fuzz_file(text, size), &again, &error));
	DEMAND(again.count == hosts->count);
	for (uint32_t i = 0; i < hosts->count; i++)
		DEMAND(strcmp(again.hosts[i].address, hosts->hosts[i].address) == 0 &&
		       again.hosts[i].slots == hosts->hosts[i].slots);
	hostfile_fini(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hostfile hosts;
	struct error error = {0};
	if (!hostfile_read(fuzz_file(data, size), &hosts, &error)) {
		DEMAND(error.code == ERROR_USAGE && error.message[0] != '\0');
		return 0;
	}
	check_hosts(&hosts);
	check_round_trip(&hosts);
	hostfile_fini(&hosts);
	return 0;
}
