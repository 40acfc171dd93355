// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The rules of classic BPF. libpcap's own checker lets loops through; its interpreter
// holds every load against the length of the frame, also where the offset was computed
// from the frame's bytes, and that is why it runs the filters.

#include "control/trace_filter.h"

#include "control/trace.h"

#include <pcap/pcap.h>

#include <stdlib.h>

// `behind`: so many instructions follow. Whatever code is not named here ends the process in
// libpcap's machine.
static bool is_valid(const struct bpf_insn *i, uint32_t behind)
{
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_H | BPF_ABS:
	case BPF_LD | BPF_B | BPF_ABS:
	case BPF_LD | BPF_W | BPF_IND:
	case BPF_LD | BPF_H | BPF_IND:
	case BPF_LD | BPF_B | BPF_IND:
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_B | BPF_MSH:
	case BPF_LDX | BPF_IMM:
	case BPF_ALU | BPF_ADD | BPF_K:
	case BPF_ALU | BPF_ADD | BPF_X:
	case BPF_ALU | BPF_SUB | BPF_K:
	case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K:
	case BPF_ALU | BPF_MUL | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K:
	case BPF_ALU | BPF_AND | BPF_X:
	case BPF_ALU | BPF_OR | BPF_K:
	case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K:
	case BPF_ALU | BPF_XOR | BPF_X:
	case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_MOD | BPF_X:
	case BPF_ALU | BPF_LSH | BPF_X:
	case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
		return true;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return i->k < BPF_MEMWORDS;
	case BPF_ALU | BPF_DIV | BPF_K:
	case BPF_ALU | BPF_MOD | BPF_K:
		return i->k != 0;
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_K:
		return i->k < 32;
	case BPF_JMP | BPF_JA:
		return i->k < behind;
	case BPF_JMP | BPF_JEQ | BPF_K:
	case BPF_JMP | BPF_JEQ | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K:
	case BPF_JMP | BPF_JGT | BPF_X:
	case BPF_JMP | BPF_JGE | BPF_K:
	case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K:
	case BPF_JMP | BPF_JSET | BPF_X:
		return i->jt < behind && i->jf < behind;
	default:
		return false;
	}
}

static bool program_is_valid(const struct bpf_program *filter)
{
	for (unsigned i = 0; i < filter->bf_len; i++)
		if (!is_valid(&filter->bf_insns[i], filter->bf_len - 1 - i))
			return false;
	return filter->bf_len > 0 &&
	       BPF_CLASS(filter->bf_insns[filter->bf_len - 1].code) == BPF_RET;
}

struct bpf_program *trace_filter_create(const struct trace_instruction *code, unsigned length)
{
	struct bpf_program *filter = calloc(1, sizeof(*filter));

	if (!filter)
		return NULL;
	filter->bf_len = length;
	filter->bf_insns = calloc(length, sizeof(*filter->bf_insns));
	for (unsigned i = 0; filter->bf_insns && i < length; i++)
		filter->bf_insns[i] = (struct bpf_insn){
			.code = code[i].code,
			.jt = code[i].jump_true,
			.jf = code[i].jump_false,
			.k = code[i].k,
		};
	if (filter->bf_insns && program_is_valid(filter))
		return filter;
	trace_filter_destroy(filter);
	return NULL;
}

void trace_filter_destroy(struct bpf_program *filter)
{
	if (!filter)
		return;
	free(filter->bf_insns);
	free(filter);
}
