import type { Command } from 'commander'
import { UsageError } from './output.ts'

/** Prints a script with which a shell completes commands and options; load it with `source <(trpc-login completion bash)`. */
export function printCompletion(program: Command, shell: string): void {
  const words = wordsOf(program, [])
  const bash = [
    '_trpc_login() {',
    '  local path="" word',
    '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do [[ $word == -* ]] || path="$path $word"; done',
    '  case "$path" in',
    ...words.map(
      ({ path, next }) =>
        `    "${path.map((name) => ` ${name}`).join('')}"*) COMPREPLY=($(compgen -W "${next.join(' ')}" -- "\${COMP_WORDS[COMP_CWORD]}")) ;;`,
    ),
    '  esac',
    '}',
    'complete -F _trpc_login trpc-login',
  ]
  const fish = words.flatMap(({ path, next }) => {
    const condition = path.length === 0 ? '__fish_use_subcommand' : path.map((name) => `__fish_seen_subcommand_from ${name}`).join('; and ')
    return `complete -c trpc-login -f -n '${condition}' -a '${next.join(' ')}'`
  })
  const scripts: Readonly<Record<string, readonly string[]>> = { bash, zsh: ['autoload -U +X bashcompinit && bashcompinit', ...bash], fish }
  const script = scripts[shell]
  if (script === undefined) throw new UsageError(`completion is there for ${Object.keys(scripts).join(', ')}, not for ${shell}`)
  process.stdout.write(`${script.join('\n')}\n`)
}

/** What may follow each path of commands, the longest paths first, so that the first that fits is the right one. */
function wordsOf(command: Command, path: readonly string[]): { path: readonly string[]; next: string[] }[] {
  const deeper = command.commands.flatMap((child) => wordsOf(child, [...path, child.name()]))
  const next = [...command.commands.map((child) => child.name()), ...command.options.flatMap(({ long }) => long ?? [])]
  return [...deeper, { path, next: next.length === 0 ? ['--help'] : next }]
}
