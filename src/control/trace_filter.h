// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Capture filters that came over the wire: made of libpcap's instructions and checked
// before a worker runs them. Private to control.

#pragma once

struct bpf_program;
struct trace_instruction;

// NULL when it is no filter: a code that does not exist, a jump that leads backwards or out of it,
// a division by zero, an end without a verdict; or when memory is short. What it returns ends
// after as many steps as it has instructions at most, whatever the frame.
struct bpf_program *trace_filter_create(const struct trace_instruction *code, unsigned length);
void trace_filter_destroy(struct bpf_program *filter); // accepts NULL
