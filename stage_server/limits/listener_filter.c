// See listener_filter.h. The program is classic BPF (the kernel's Documentation/networking/filter.rst), which sees the IP header at SKF_NET_OFF.
#include "stage_server/limits/listener_filter.h"

#include <linux/filter.h>

enum { IPV4_SOURCE = 12, IPV6_SOURCE = 8, LONGEST = 8 + 5 * PENALTIES_MAXIMUM };

struct program {
	struct sock_filter steps[LONGEST];
	uint16_t count;
};

static void add(struct program *program, uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false)
{
	program->steps[program->count++] = (struct sock_filter){code, if_true, if_false, value};
}

static void load(struct program *program, uint16_t size, uint32_t offset)
{
	add(program, BPF_LD | BPF_ABS | size, (uint32_t)SKF_NET_OFF + offset, 0, 0);
}

static void drop_hosts(struct program *program, const struct peer_host *hosts, uint32_t count, uint32_t version)
{
	uint32_t source = version == 4 ? IPV4_SOURCE : IPV6_SOURCE;
	for (uint32_t i = 0; i < count; i++) {
		if (hosts[i].version != version)
			continue;
		load(program, BPF_W, source);
		add(program, BPF_JMP | BPF_JEQ, hosts[i].words[0], 0, version == 4 ? 1 : 3); // else behind the return
		if (version == 6) {
			load(program, BPF_W, source + 4);
			add(program, BPF_JMP | BPF_JEQ, hosts[i].words[1], 0, 1);
		}
		add(program, BPF_RET, 0, 0, 0);
	}
}

bool listener_filter_set(int listener, const struct peer_host *hosts, uint32_t count)
{
	struct program program = {.count = 0};
	if (count == 0) {
		listener_filter_remove(listener);
		return true;
	}
	load(&program, BPF_B, 0);
	add(&program, BPF_ALU | BPF_RSH, 4, 0, 0);
	add(&program, BPF_JMP | BPF_JEQ, 4, 1, 0);
	uint16_t jump = program.count;
	add(&program, BPF_JMP | BPF_JA, 0, 0, 0); // over what is IPv4's
	drop_hosts(&program, hosts, count, 4);
	add(&program, BPF_RET, UINT32_MAX, 0, 0);
	program.steps[jump].k = program.count - jump - 1u;
	drop_hosts(&program, hosts, count, 6);
	add(&program, BPF_RET, UINT32_MAX, 0, 0);
	struct sock_fprog whole = {program.count, program.steps};
	return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &whole, sizeof(whole)) == 0;
}

void listener_filter_remove(int descriptor)
{
	int unused = 0;
	setsockopt(descriptor, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
}
