// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The file that carries what persistent sessions are owed (offload/ledger.h) from an orderly stop
// to the next start: beside the control socket, named after it. It comes whole or not at
// all, and is read once: what a crash leaves behind is not an earlier stop's.

#pragma once

struct config;
struct ledger;
struct ledger_file;
struct ledger_writer;

// Reads it, as far as it is sound, and logs what was found. NULL: there is none, or nothing in it.
void ledger_file_read(const struct config *config, struct ledger **ret_ledger);
// It has been read.
void ledger_file_remove(const struct config *config);

// Writing begins: nothing is on disk before something is written. NULL: no memory, logged.
struct ledger_file *ledger_file_create(const struct config *config);
struct ledger_writer *ledger_file_writer(struct ledger_file *file);
// Writing ends, or has failed: logged. Accepts NULL.
void ledger_file_finish(struct ledger_file *file);
