BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE events (
	id INTEGER NOT NULL, 
	request_id VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	type VARCHAR(32) NOT NULL, 
	actor VARCHAR(32) NOT NULL, 
	details TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (request_id, number), 
	FOREIGN KEY(request_id) REFERENCES requests (id)
);
INSERT INTO "events" VALUES(1,'2e06f63f3f3f4b28a9a7919d0eb2bbde',1,'2026-11-25 02:33:36.632722','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":202,"customer_id":2554529,"kind":"unlatch","reason":"moved to the new portal","row":"0fab1eb660b2f887b2a01eb343d9aee70823e8aa24a22d3c9579ea212c6cf142","vid":101}','','b3b840514e8b8003e476fd910ffea64202e58d401d5fdd9d42b9d71fb1e47acc');
INSERT INTO "events" VALUES(2,'2e06f63f3f3f4b28a9a7919d0eb2bbde',2,'2026-11-25 02:33:36.692887','decision_denied','U0ALICE','{"verdict":"confirmed","why":"You asked for this yourself, and two people are needed: somebody else has to confirm."}','b3b840514e8b8003e476fd910ffea64202e58d401d5fdd9d42b9d71fb1e47acc','05bb36414e521c7ab84179bdeddc7ad61bdeb6c2faab4513a184707d23c40e4b');
INSERT INTO "events" VALUES(3,'2e06f63f3f3f4b28a9a7919d0eb2bbde',3,'2026-11-25 02:33:36.757984','confirmed','U0BOB','{}','05bb36414e521c7ab84179bdeddc7ad61bdeb6c2faab4513a184707d23c40e4b','99a010a89cd8db63b52fd7feb8080c2e527a85793c242e55ce40443b25bdd585');
INSERT INTO "events" VALUES(4,'2e06f63f3f3f4b28a9a7919d0eb2bbde',4,'2026-11-25 02:33:36.762649','cleared','','{"company_id":202,"how":"answer","seconds":0.002,"status":200,"vid":101}','99a010a89cd8db63b52fd7feb8080c2e527a85793c242e55ce40443b25bdd585','da8414e9cb1234a3415a3f71dd07d286c50558e69a1ff7fbf9f0fb26be8db84e');
INSERT INTO "events" VALUES(5,'a7ce77dc0350492f84511dcc845e647c',1,'2026-11-25 02:33:36.823892','requested','U0BOB','{"channel_id":"C0BILLING","company_id":202,"customer_id":2554529,"kind":"relatch","reason":"Undo: moved to the new portal","row":"83fa9ba28817684e7b269474b98cf4397edc8aacb744835e35f7c3a2946ee82f","vid":101}','','2d2a52f19711cf779c428d34f34736a98e6dc42ca1b30ef9e757295320e09adf');
INSERT INTO "events" VALUES(6,'a7ce77dc0350492f84511dcc845e647c',2,'2026-11-25 02:33:36.877969','confirmed','U0ALICE','{}','2d2a52f19711cf779c428d34f34736a98e6dc42ca1b30ef9e757295320e09adf','8b219bb1ffc4cd187c31a9752f49d87f77a82954e1580fa7beafb7ef9ba625df');
INSERT INTO "events" VALUES(7,'a7ce77dc0350492f84511dcc845e647c',3,'2026-11-25 02:33:36.882800','restored','','{"company_id":202,"how":"answer","seconds":0.002,"status":200,"vid":101}','8b219bb1ffc4cd187c31a9752f49d87f77a82954e1580fa7beafb7ef9ba625df','b94f19fce63ff6a80390389dc834fa797f4c137d0c15a91f0636dea737134741');
INSERT INTO "events" VALUES(8,'2e06f63f3f3f4b28a9a7919d0eb2bbde',5,'2026-11-25 02:33:36.884309','undone','U0ALICE','{"by_request":"a7ce77dc0350492f84511dcc845e647c"}','da8414e9cb1234a3415a3f71dd07d286c50558e69a1ff7fbf9f0fb26be8db84e','817595a85e59615c9bf97cfe7dcf413bd4de6bb2098b1f442420416f44422e99');
INSERT INTO "events" VALUES(9,'6b0804f67bd6464baacedf801c66b39a',1,'2026-11-25 02:33:36.944536','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":30302,"customer_id":3100042,"kind":"unlatch","reason":"wrong one","row":"4abef2b7486770f1e24751b0fc55d246c6e251a57fea537d52c82d9d960f9984","vid":30301}','','3fa9df804c0216c692a3981c91bb24cca47805393518d0a8cca886809dab00dc');
INSERT INTO "events" VALUES(10,'6b0804f67bd6464baacedf801c66b39a',2,'2026-11-25 02:33:36.998932','cancelled','U0ALICE','{}','3fa9df804c0216c692a3981c91bb24cca47805393518d0a8cca886809dab00dc','1d966f1cd2c4c2d6c63f73f769d6ccae63de44f21b4895bce82dea4df62007cc');
INSERT INTO "events" VALUES(11,'ae125711231b42fbb99e791633a5c4c1',1,'2026-11-25 02:33:37.057051','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":null,"customer_id":3100025,"kind":"unlatch","reason":"left us","row":"18ae364f02310a47f6e8ed10f6c96d5f2e2db69ea8fd171021b8fef9f316a69f","vid":5151}','','8268670ebc723a9cd3ef98264f74e4a1d457b72f1dd6aac679f531ce40124654');
INSERT INTO "events" VALUES(12,'ae125711231b42fbb99e791633a5c4c1',2,'2026-11-25 02:33:37.112195','confirmed','U0BOB','{}','8268670ebc723a9cd3ef98264f74e4a1d457b72f1dd6aac679f531ce40124654','a8e88c9051cf1faad10437492660fc58c6e939562e204c57453ebe93ff0561db');
INSERT INTO "events" VALUES(13,'ae125711231b42fbb99e791633a5c4c1',3,'2026-11-25 02:33:37.116658','refused','','{"seconds":0.002,"status":409,"texts":["The customer can not be changed while it is being synchronised."],"why":"Fusebill refused. Nothing was changed."}','a8e88c9051cf1faad10437492660fc58c6e939562e204c57453ebe93ff0561db','b1f1309818c40f34a222ddcb9fe978e79229e9d62a6c0179dae9babd6fac524c');
INSERT INTO "events" VALUES(14,'587749f4390a4235a51d299462eb0353',1,'2026-11-25 02:33:37.174145','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":null,"customer_id":3100025,"kind":"unlatch","reason":"again","row":"c047b4b9b8bf19f3d842912ab11fd3e4be15c41f2ab6418b2329dc9b9daec2c3","vid":5151}','','fa400ad323cea08d208ba229a1cb14e46e3f89fb6c5d081d6f65db423318672c');
INSERT INTO "events" VALUES(15,'587749f4390a4235a51d299462eb0353',2,'2026-11-25 02:33:37.227887','confirmed','U0BOB','{}','fa400ad323cea08d208ba229a1cb14e46e3f89fb6c5d081d6f65db423318672c','29a844b73c128883be67b69a691b39bb7f498824fcb2f518b35ab0007ab70c5b');
INSERT INTO "events" VALUES(16,'587749f4390a4235a51d299462eb0353',3,'2026-11-25 02:33:38.230727','unknown','','{"seconds":1.001,"status":null,"texts":[],"why":"Fusebill gave no answer that tells (Fusebill did not answer in time). An earlier call may have been done, or may still be."}','29a844b73c128883be67b69a691b39bb7f498824fcb2f518b35ab0007ab70c5b','4033f7741481912758c4b5996e87e11d24d6cc6b3b763a194d550e4e011a6472');
INSERT INTO "events" VALUES(17,'c09836d33e934a0daeb5ec211a26da91',1,'2026-11-25 02:33:38.291260','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":734002,"customer_id":3100033,"kind":"unlatch","reason":"gone","row":"1fbc89c03cc964850379f38a5e754ef7d13a3815afe85442b8a63927a6a8d1ac","vid":734001}','','06d2cc9f3b04de9c8efec8f1c9769711f116437905aad6feb6d8b8b60d63aac6');
INSERT INTO "events" VALUES(18,'c09836d33e934a0daeb5ec211a26da91',2,'2026-11-25 02:33:38.345395','confirmed','U0BOB','{}','06d2cc9f3b04de9c8efec8f1c9769711f116437905aad6feb6d8b8b60d63aac6','89a72aa1e25bdb8cfa0174b9164bd02889693978a10435cfc1f75118b533b1e6');
INSERT INTO "events" VALUES(19,'c09836d33e934a0daeb5ec211a26da91',3,'2026-11-25 02:33:38.348556','already_clear','','{"seconds":0.001}','89a72aa1e25bdb8cfa0174b9164bd02889693978a10435cfc1f75118b533b1e6','4b8b7e9063684ba6cbd9a7eec623ef4f14fffd11722265c710f9859f07d3abe4');
INSERT INTO "events" VALUES(20,'360c3e720b4645b6b3ab47bcd7b09d78',1,'2026-11-25 02:33:38.405883','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":434381295295,"customer_id":3100066,"kind":"unlatch","reason":"changed","row":"ce545fef06dcc4de5de3a436bbb784757a603b225d7082bebe76741fe9c0d0fd","vid":434381295294}','','e5dab458cc27275f81e93e5812219405698ae6c6bc4fc81f6937452f5e906ddb');
INSERT INTO "events" VALUES(21,'360c3e720b4645b6b3ab47bcd7b09d78',2,'2026-11-25 02:33:38.461366','confirmed','U0BOB','{}','e5dab458cc27275f81e93e5812219405698ae6c6bc4fc81f6937452f5e906ddb','88e0e01762cab7717fb537eb9c72879845954c3e2deb479590808e568e128d00');
INSERT INTO "events" VALUES(22,'360c3e720b4645b6b3ab47bcd7b09d78',3,'2026-11-25 02:33:38.464957','changed','','{"found":{"company_id":434381295295,"vid":909},"seconds":0.002}','88e0e01762cab7717fb537eb9c72879845954c3e2deb479590808e568e128d00','d2b1b7b7fbd6cba7a8dc23bae53ba44efef1121a0310958d66d709dfd9f3e3d6');
INSERT INTO "events" VALUES(23,'32c6aa66509e4436b261aa093b0c4dec',1,'2026-11-25 02:33:38.523658','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":202,"customer_id":2554529,"kind":"unlatch","reason":"waits","row":"3eb7c4177222e153af05f92ae4600063496684dc5aa2afa3d4ef86aa9e93c6c8","vid":101}','','885db1839846faa1dca3604f085e66ed3500d000daa5990ef97515b92ec9efc0');
INSERT INTO "events" VALUES(24,'f44264bd909047b2983e59d06bb8173e',1,'2026-11-25 02:33:38.580986','requested','U0ALICE','{"channel_id":"C0BILLING","company_id":88002,"customer_id":3100071,"kind":"unlatch","reason":"decided, then the bot was killed","row":"2fca7b526ffc4b4635c95dfc2a9128f38ddf1c5e1335babe61e469c85427c292","vid":88001}','','74aa98706bf3b63cbd90b1737e686248ab8532b32a9e7538040c910ded795cbd');
INSERT INTO "events" VALUES(25,'5603930fe0264e8b9cf6db0ed7e8dbba',1,'2026-11-25 02:33:38.641554','ask_denied','U0GUEST','{"channel_id":"C0BILLING","customer_id":2554529,"kind":"unlatch","reason":"let me","row":"7495a469f8e8374024cc19df319a95dafb841be09254bfe4a7a0dff53c0c38d5","why":"People of another organisation may not ask for an unlatch here."}','','d1339277b37b185476613d1a591aae3ef5ec8927f1348dc529c04b343bedb634');
INSERT INTO "events" VALUES(26,'f44264bd909047b2983e59d06bb8173e',2,'2026-11-25 02:33:38.638382','confirmed','U0BOB','{}','74aa98706bf3b63cbd90b1737e686248ab8532b32a9e7538040c910ded795cbd','06bf06e70b1762e00b8cc40297fec4632b8fc2cda5733b8ca05cd21187d6e93a');
CREATE TABLE requests (
	id VARCHAR(32) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	customer_id BIGINT NOT NULL, 
	customer TEXT NOT NULL, 
	channel_id VARCHAR(32) NOT NULL, 
	message_ts VARCHAR(32), 
	thread_ts VARCHAR(32), 
	requester_id VARCHAR(32) NOT NULL, 
	requester_team_id VARCHAR(32) NOT NULL, 
	reason TEXT NOT NULL, 
	asked_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	verdict VARCHAR(16), 
	decider_id VARCHAR(32), 
	decider_team_id VARCHAR(32), 
	decided_at DATETIME, 
	outcome VARCHAR(16), 
	settled_at DATETIME, 
	due_at DATETIME, 
	claim INTEGER NOT NULL, 
	deliveries INTEGER NOT NULL, 
	mirrored_through INTEGER NOT NULL, 
	events INTEGER NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	undoes VARCHAR(32), 
	undone_by VARCHAR(32), 
	PRIMARY KEY (id)
);
INSERT INTO "requests" VALUES('2e06f63f3f3f4b28a9a7919d0eb2bbde','unlatch',2554529,'{"account_status":"Good","company_name":"Stolen Bikes","customer_id":2554529,"email":"john.doe@stolenbikes.example","ids":{"company_id":202,"vid":101},"name":"John Doe","reference":"1337","status":"Active"}','C0BILLING','1795574016.635432','1795574016.635432','U0ALICE','T0SANDBOX','moved to the new portal','2026-11-25 02:33:36.632722','2026-11-25 02:34:36.632722','confirmed','U0BOB','T0SANDBOX','2026-11-25 02:33:36.757984','cleared','2026-11-25 02:33:36.762649',NULL,1,0,5,5,'817595a85e59615c9bf97cfe7dcf413bd4de6bb2098b1f442420416f44422e99',NULL,'a7ce77dc0350492f84511dcc845e647c');
INSERT INTO "requests" VALUES('a7ce77dc0350492f84511dcc845e647c','relatch',2554529,'{"account_status":"Good","company_name":"Stolen Bikes","customer_id":2554529,"email":"john.doe@stolenbikes.example","ids":{"company_id":202,"vid":101},"name":"John Doe","reference":"1337","status":"Active"}','C0BILLING','1795574016.824982','1795574016.635432','U0BOB','T0SANDBOX','Undo: moved to the new portal','2026-11-25 02:33:36.823892','2026-11-25 02:34:36.823892','confirmed','U0ALICE','T0SANDBOX','2026-11-25 02:33:36.877969','restored','2026-11-25 02:33:36.882800',NULL,1,0,3,3,'b94f19fce63ff6a80390389dc834fa797f4c137d0c15a91f0636dea737134741','2e06f63f3f3f4b28a9a7919d0eb2bbde',NULL);
INSERT INTO "requests" VALUES('6b0804f67bd6464baacedf801c66b39a','unlatch',3100042,'{"account_status":"Good","company_name":"Riverside Cycle Hire","customer_id":3100042,"email":"accounts@customer-3100042.example","ids":{"company_id":30302,"vid":30301},"name":"Accounts Payable","reference":"2554529","status":"Active"}','C0BILLING','1795574016.945609','1795574016.945609','U0ALICE','T0SANDBOX','wrong one','2026-11-25 02:33:36.944536','2026-11-25 02:34:36.944536','cancelled','U0ALICE','T0SANDBOX','2026-11-25 02:33:36.998932',NULL,NULL,NULL,1,0,2,2,'1d966f1cd2c4c2d6c63f73f769d6ccae63de44f21b4895bce82dea4df62007cc',NULL,NULL);
INSERT INTO "requests" VALUES('ae125711231b42fbb99e791633a5c4c1','unlatch',3100025,'{"account_status":"Good","company_name":"Maple & Pine Joinery","customer_id":3100025,"email":"accounts@customer-3100025.example","ids":{"company_id":null,"vid":5151},"name":"Accounts Payable","reference":"MPJ-118","status":"Active"}','C0BILLING','1795574017.057973','1795574017.057973','U0ALICE','T0SANDBOX','left us','2026-11-25 02:33:37.057051','2026-11-25 02:34:37.057051','confirmed','U0BOB','T0SANDBOX','2026-11-25 02:33:37.112195','refused','2026-11-25 02:33:37.116658',NULL,1,0,3,3,'b1f1309818c40f34a222ddcb9fe978e79229e9d62a6c0179dae9babd6fac524c',NULL,NULL);
INSERT INTO "requests" VALUES('587749f4390a4235a51d299462eb0353','unlatch',3100025,'{"account_status":"Good","company_name":"Maple & Pine Joinery","customer_id":3100025,"email":"accounts@customer-3100025.example","ids":{"company_id":null,"vid":5151},"name":"Accounts Payable","reference":"MPJ-118","status":"Active"}','C0BILLING','1795574017.175086','1795574017.175086','U0ALICE','T0SANDBOX','again','2026-11-25 02:33:37.174145','2026-11-25 02:34:37.174145','confirmed','U0BOB','T0SANDBOX','2026-11-25 02:33:37.227887','unknown','2026-11-25 02:33:38.230727',NULL,1,0,3,3,'4033f7741481912758c4b5996e87e11d24d6cc6b3b763a194d550e4e011a6472',NULL,NULL);
INSERT INTO "requests" VALUES('c09836d33e934a0daeb5ec211a26da91','unlatch',3100033,'{"account_status":"Good","company_name":"Quiet Street Dental","customer_id":3100033,"email":"accounts@customer-3100033.example","ids":{"company_id":734002,"vid":734001},"name":"Accounts Payable","reference":"QSD-09","status":"Active"}','C0BILLING','1795574018.292256','1795574018.292256','U0ALICE','T0SANDBOX','gone','2026-11-25 02:33:38.291260','2026-11-25 02:34:38.291260','confirmed','U0BOB','T0SANDBOX','2026-11-25 02:33:38.345395','already_clear','2026-11-25 02:33:38.348556',NULL,1,0,3,3,'4b8b7e9063684ba6cbd9a7eec623ef4f14fffd11722265c710f9859f07d3abe4',NULL,NULL);
INSERT INTO "requests" VALUES('360c3e720b4645b6b3ab47bcd7b09d78','unlatch',3100066,'{"account_status":"Good","company_name":"Northern Telescope Works","customer_id":3100066,"email":"accounts@customer-3100066.example","ids":{"company_id":434381295295,"vid":434381295294},"name":"Accounts Payable","reference":"NTW-77","status":"Active"}','C0BILLING','1795574018.406973','1795574018.406973','U0ALICE','T0SANDBOX','changed','2026-11-25 02:33:38.405883','2026-11-25 02:34:38.405883','confirmed','U0BOB','T0SANDBOX','2026-11-25 02:33:38.461366','changed','2026-11-25 02:33:38.464957',NULL,1,0,3,3,'d2b1b7b7fbd6cba7a8dc23bae53ba44efef1121a0310958d66d709dfd9f3e3d6',NULL,NULL);
INSERT INTO "requests" VALUES('32c6aa66509e4436b261aa093b0c4dec','unlatch',2554529,'{"account_status":"Good","company_name":"Stolen Bikes","customer_id":2554529,"email":"john.doe@stolenbikes.example","ids":{"company_id":202,"vid":101},"name":"John Doe","reference":"1337","status":"Active"}','C0BILLING','1795574018.524700','1795574018.524700','U0ALICE','T0SANDBOX','waits','2026-11-25 02:33:38.523658','2026-11-25 02:34:38.523658',NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-25 02:34:38.523658',0,0,0,1,'885db1839846faa1dca3604f085e66ed3500d000daa5990ef97515b92ec9efc0',NULL,NULL);
INSERT INTO "requests" VALUES('f44264bd909047b2983e59d06bb8173e','unlatch',3100071,'{"account_status":"PoorStanding","company_name":"Tidewater Print & Copy","customer_id":3100071,"email":"billing@tidewater.example;office@tidewater.example","ids":{"company_id":88002,"vid":88001},"name":"Accounts Payable","reference":"TPC-300","status":"Hold"}','C0BILLING','1795574018.582634','1795574018.582634','U0ALICE','T0SANDBOX','decided, then the bot was killed','2026-11-25 02:33:38.580986','2026-11-25 02:34:38.580986','confirmed','U0BOB','T0SANDBOX','2026-11-25 02:33:38.638382',NULL,NULL,'2026-11-25 02:33:41.638382',1,0,0,2,'06bf06e70b1762e00b8cc40297fec4632b8fc2cda5733b8ca05cd21187d6e93a',NULL,NULL);
INSERT INTO "requests" VALUES('5603930fe0264e8b9cf6db0ed7e8dbba','unlatch',2554529,'{"account_status":"","company_name":"","customer_id":2554529,"email":"","ids":{"company_id":null,"vid":null},"name":"","reference":"","status":""}','C0BILLING',NULL,NULL,'U0GUEST','T0PARTNER','let me','2026-11-25 02:33:38.641554','2026-11-25 02:34:38.641554',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,1,'d1339277b37b185476613d1a591aae3ef5ec8927f1348dc529c04b343bedb634',NULL,NULL);
CREATE INDEX requests_due ON requests (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX requests_by_time ON requests (asked_at);
CREATE INDEX requests_by_customer ON requests (customer_id, asked_at);
CREATE INDEX requests_by_undone ON requests (undoes) WHERE undoes IS NOT NULL;
COMMIT;
