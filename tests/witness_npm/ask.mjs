// Asks the Hub named by the first argument what standard input lists, [[function, parameters], ...], one after the
// other, and prints the answers as JSON: lists of what is iterated, base64 of what is downloaded, status of what failed.
import * as client from "@huggingface/hub";
import { text } from "node:stream/consumers";

const hubUrl = process.argv[2];

async function plain(answer, [begin, end] = []) {
	if (answer instanceof Blob) {
		const part = begin === undefined ? answer : answer.slice(begin, end);
		return Buffer.from(await part.arrayBuffer()).toString("base64");
	}
	return answer?.[Symbol.asyncIterator] ? gathered(answer) : answer;
}

async function gathered(answers) {
	const all = [];
	for await (const answer of answers) all.push(answer);
	return all;
}

async function asked([name, { slice, ...parameters }]) {
	try {
		return { answer: (await plain(await client[name]({ hubUrl, ...parameters }), slice)) ?? null };
	} catch (error) {
		return { failed: error.statusCode ?? error.name, message: error.message, told: error.data };
	}
}

const answers = [];
for (const question of JSON.parse(await text(process.stdin))) answers.push(await asked(question));
console.log(JSON.stringify(answers));
