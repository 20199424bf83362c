# The world in which the examples of the help are run: agents with a past, notes, wallets, and the files that examples name.
set -eu
export LIFE_MODEL=scripted/tour
life sample ws
echo "- June: the lamp was dark." >ws/notes/june.md
for turn in 1 2 3; do
	life run --quiet --agent demo --workspace ws "Take the tour"
	life run --quiet --agent demo-2 --workspace ws "Take the tour"
	echo "- Turn $turn is over." >>ws/notes/june.md
	sed -i 's/Status: reviewed/Status: draft/' ws/README.md
done
life run --quiet --agent support-1 --workspace ws --model scripted/echo "Where is my parcel?"

mkdir -p notes/projects vaults/capsule src/project scripts
cat >notes/projects/heat-shield.md <<'END'
---
title: Heat shield
tags: [thermal]
part_of: "[[capsule]]"
---
It burns away slowly during re-entry.
END
printf '# Capsule\n\nIt has a [[heat-shield]].\n' >notes/capsule.md
printf '# Crew\n\nThree of them.\n' >vaults/capsule/crew.md

echo "Be brief." >brief.txt
echo '[{"name": "stuck", "measure": "progress", "at_least": 0.1, "mode": "verify"}]' >rules.json
cp rules.json strict.json
life rules adopt strict.json --tenant accounts
cat >refunds.yaml <<'END'
name: refunds
version: 1
about: how often tools are called, by the length of their names
on: [tool.requested]
key: {length: len(tool)}
fold: {calls: state.calls + 1}
answer:
  lengths:
    about: calls by the length of the tool's name
    columns: [length, calls]
END
for file in secret password; do echo "a-long-password" >$file; done
echo "admin:a-long-password" >admin
echo "changeit:changeit" >.esdb
echo "a-token" >.life-token
chmod 600 .life-token secret password admin .esdb
life store export backup.jsonl
zstd -q backup.jsonl
cat >scripts/asks.yaml <<'END'
rules:
  - when: {role: user}
    calls: [{tool: list_dir, arguments: {path: .}}]
  - when: {tool: list_dir}
    calls: [{tool: bash, arguments: {command: "rm -r build"}}]
  - text: That is done.
END
cat >scripts/wonders.yaml <<'END'
rules:
  - when: {role: user}
    calls: [{tool: ask_user, arguments: {question: "Which database is meant?", options: [staging, production]}}]
  - text: That is done.
END
cat >model_prices_and_context_window.json <<'END'
{
  "sample_spec": {"mode": "one of chat, embedding"},
  "gpt-5-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-07, "output_cost_per_token": 2e-06,
    "cache_read_input_token_cost": 2e-08, "max_input_tokens": 400000, "max_output_tokens": 128000},
  "sonnet-of-tomorrow": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05},
  "a-mistake": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.0, "output_cost_per_token": 8.0},
  "pictures": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04}
}
END
git init -q .
echo first >file.txt
git add file.txt
git -c user.name=ada -c user.email=ada@example.com commit -qm first
echo second >>file.txt
